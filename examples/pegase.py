"""Makes an export in the Pégase profile (JSON lines) of the same invented students as `examples.generate`.

python -m examples.pegase --students 60 --year 2026 --out examples/pegase-2026.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from examples.generate import COLUMNS, SEED, bad_lines, lines

NAMES = (
    "codeApprenant", "ine", "nomFamille", "nomUsage", "prenom", "prenomUsage", "dateNaissance",
    "mailPersonnel", "codePeriode", "codeFormation", "codeChemin", "codeStructure", "libelleFormation",
    "statutInscription", "statutInscriptionPedagogique",
)  # fmt: skip

_STATES = {"E": "valide", "C": "en_attente", "A": "annulee", "R": "annulee"}
PREFERRED_NAME_EVERY = 30  # students; each has a preferred given name (prénom d'usage)


def objects(students: int, year: int, seed: int = SEED) -> Iterator[dict[str, str | None]]:
    """The export's objects, without the bad lines of the Apogée example."""
    bad = bad_lines(year)
    good = (line for line in lines(students, year, seed) if line not in bad)
    for cells in good:
        row = dict(zip(COLUMNS, cells, strict=True))
        day, month, born = row["DATE_NAI_IND"].split("/")
        state = "en_attente" if row["ETA_PMT_IAE"] == "A" else _STATES[row["ETA_IAE"]]
        values: tuple[str | None, ...] = (
            row["COD_ETU"],
            row["COD_NNE_IND"] or None,
            row["LIB_NOM_PAT_IND"],
            row["LIB_NOM_USU_IND"] or None,
            row["LIB_PR1_IND"],
            "Camille" if int(row["COD_ETU"]) % PREFERRED_NAME_EVERY == 0 else None,
            f"{born}-{month}-{day}",
            row["MAIL_PERSO"] or None,
            f"PER-{year}",
            row["COD_ETP"],
            f"{row['COD_ETP']}>PARCOURS-{row['COD_VRS_VET']}",
            row["COD_CMP"],
            row["LIB_ETP"],
            state,
            "valide" if row["IP_VALIDE"] == "O" else "en_attente",
        )
        yield dict(zip(NAMES, values, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a Pégase export of invented students.")
    parser.add_argument("--students", type=int, default=60, help="students (default 60)")
    parser.add_argument("--year", type=int, default=2026, help="academic year, by its first year")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    with options.out.open("w", encoding="utf-8", newline="") as out:
        for each in objects(options.students, options.year):
            out.write(json.dumps(each, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
