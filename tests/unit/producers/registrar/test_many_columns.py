"""Files with many columns, and imports that are stopped before anything is read."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest

from producers.registrar.faults import UnusableFile
from producers.registrar.import_subject import ImportInterrupted
from producers.registrar.physical import Source
from producers.registrar.profiles import choose
from producers.registrar.reader import examine
from sesame.testing.servers.registrar_kit import Registrar
from tests.unit.producers.registrar.workbook_kit import row, xlsx

APOGEE = choose("apogee", payment_required=True, one_name=False)


def calls_to_refuse(path: Path, names: list[str]) -> int:
    """How many functions are called until a file with this header is refused: work, whatever the machine."""
    path.write_text(";".join(names) + "\n1;2\n", "utf-8")
    calls = 0

    def count(_frame: FrameType, _event: str, _arg: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        with pytest.raises(UnusableFile):
            examine(Source(path), APOGEE)
    finally:
        sys.setprofile(None)
    return calls


def unlike(count: int) -> list[str]:
    return [chr(0x4E00 + place) for place in range(count)]


def test_a_header_of_many_names_is_refused_in_time_linear_in_them(tmp_path: Path) -> None:
    few, many = (calls_to_refuse(tmp_path / "wide.csv", unlike(count)) for count in (150, 600))
    assert many < 4.5 * few


def test_the_nearest_names_are_still_told(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(";".join(["COD_ETUD", "LIB_NOM_PAT_IND", *unlike(400)]) + "\n1;2\n")
    with pytest.raises(UnusableFile, match="expected COD_ETU: found COD_ETUD"):
        examine(Source(tmp_path / "wide.csv"), APOGEE)


def test_a_workbook_can_be_stopped_while_it_is_unpacked(registrar: Registrar, tmp_path: Path) -> None:
    wide = row(*(f"value {place}" for place in range(8_000)))
    path = xlsx(tmp_path / "wide.xlsx", {"export": wide * 20})
    told: list[int | None] = []

    def stop(_done: int, of: int | None) -> None:
        told.append(of)
        raise ImportInterrupted(remedy="ask again")

    with pytest.raises(ImportInterrupted, match="nothing was published") as stopped:
        registrar.import_(path, progress=stop)
    assert told == [None], "it was not unpacked to its end, nor surveyed"
    assert stopped.value.remedy == "ask again"
