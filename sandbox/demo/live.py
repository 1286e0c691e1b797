"""Feed Pégase's stand-in with the registrar's example."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from sandbox.pegase import Pegase, composition, inscription

_BAD = "99"
_Row = dict[str, str]


def narrow(file: Path, groups: Path, folder: Path) -> tuple[Path, Path]:
    """The part of the registrar's files that Pégase's flow can tell.

    It has enrolments that are valid or cancelled, without a pedagogical state, and students in groups.
    A student without a valid one is left out: a cancellation alone makes no account.
    """
    lines = [
        line | {"IP_VALIDE": "O"}
        for line in read(file)
        if not line["COD_ETU"].startswith(_BAD) and line["ETA_IAE"] != "C" and line["ETA_PMT_IAE"] != "A"
    ]
    known = {line["COD_ETU"] for line in lines if line["ETA_IAE"] == "E"}
    lines = [line for line in lines if line["COD_ETU"] in known]
    places = [line for line in read(groups) if line["COD_GPE"] and line["COD_ETU"] in known]
    return _write(folder / "flow.csv", lines), _write(folder / "flow-groups.csv", places)


def feed(pegase: Pegase, file: Path, groups: Path) -> None:
    """Put these enrolments and groups into the stand-in."""
    units: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    labels = {}
    for line in read(groups):
        units[line["COD_ELP"]][line["COD_GPE"]].append(line["COD_ETU"])
        labels[line["COD_ELP"]] = line["LIB_ELP"]
    pegase.give_groups(composition(unit, labels[unit], several) for unit, several in units.items())
    pegase.put(map(inscription, read(file)))


def read(file: Path) -> list[_Row]:
    """The lines of a file of the registrar's."""
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, delimiter=";"))


def _write(file: Path, lines: Iterable[Mapping[str, str]]) -> Path:
    several = list(lines)
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, list(several[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(several)
    return file
