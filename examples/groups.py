"""Makes the second file, of teaching units and groups, for the students of an export that `generate` made.

    python -m examples.groups examples/registrar-2026.csv --out examples/groups-2026.csv

Everybody has two units of their primary step: one with groups for practical work, one without. Whoever has no
primary enrolment that counts is in no group.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from examples.generate import SEPARATOR

COLUMNS = ("COD_ETU", "COD_ANU", "COD_ELP", "LIB_ELP", "COD_GPE")
BAD = "99"  # students of bad lines
GROUP_SIZE = 15


def lines(rows: Iterator[Mapping[str, str]]) -> Iterator[list[str]]:
    """The file's lines below the header, in the order of the students."""
    places: Counter[str] = Counter()
    for row in rows:
        if row["COD_ETU"].startswith(BAD) or row["TEM_IAE_PRM"] != "O" or row["ETA_IAE"] not in ("C", "E"):
            continue
        step = row["COD_ETP"]
        group = f"TD{places[step] // GROUP_SIZE + 1}"
        places[step] += 1
        for unit, its_group in ((f"{step}A", group), (f"{step}B", "")):
            yield [row["COD_ETU"], row["COD_ANU"], unit, f"{row['LIB_ETP']}, unité {unit[-1]}", its_group]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the file of groups that belongs to an export.")
    parser.add_argument("export", type=Path, help="made by `python -m examples.generate`")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    with (
        options.export.open(encoding="utf-8", newline="") as file,
        options.out.open("w", encoding="utf-8", newline="") as out,
    ):
        writer = csv.writer(out, delimiter=SEPARATOR, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines(csv.DictReader(file, delimiter=SEPARATOR)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
