"""A hostile file of groups: every case comes to what is said beside it, and nothing is taken from anybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.hostile import REPEATED, Case
from examples.hostile_groups import CASES, LISTED, TEACHINGS_MAX, export, lines, main
from producers.registrar.faults import REMEDIES, Fault
from producers.registrar.report import ImportReport
from schemas import events
from schemas.events import Teaching, TeachingsRecorded
from sesame.testing.servers.registrar_kit import Registrar

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
BEFORE = "ZZ1"
"""A unit that everybody follows before the hostile file comes."""


@dataclass
class Imported:
    """The hostile file after its import as a complete one, over lists of everybody."""

    registrar: Registrar
    report: ImportReport
    lists: dict[str, tuple[Teaching, ...]]
    numbers: dict[str, list[int]]


def student_of(case: Case) -> str:
    return str(97_000_001 + CASES.index(case))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    registrar = Registrar(tmp_path_factory.mktemp("hostile"))
    registrar.import_groups(*(f"{student_of(case)} {BEFORE} -" for case in CASES))
    registrar.log.take()
    registrar.groups.write_bytes(export())
    report = registrar.import_groups(path=registrar.groups, full_year=2026)
    lists = {
        message.event.student_number: message.event.teachings
        for message in registrar.log.messages
        if isinstance(message.event, TeachingsRecorded)
    }
    numbers: dict[str, list[int]] = {}
    for number, (case, _) in enumerate(lines(), start=2):
        numbers.setdefault(case.name, []).append(number)
    yield Imported(registrar, report, lists, numbers)
    registrar.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_line_comes_to_what_is_expected_of_it(imported: Imported, case: Case) -> None:
    numbers = imported.numbers[case.name]
    rejected = [row for row in imported.registrar.rejected() if int(row["line"]) in numbers]
    listed = imported.lists.get(student_of(case), ())
    if case.outcome in (LISTED, REPEATED):
        assert rejected == []
        sound = [each for each in listed if each.element != BEFORE]
        assert len(sound) == len({tuple(sorted(changes.items())) for changes in case.changes})
        return
    assert listed == (), "what was published before stays as it is"
    assert {int(row["line"]) for row in rejected} == set(numbers)
    assert {row["fault"] for row in rejected} == {case.outcome}
    assert all(row["remedy"] == REMEDIES[Fault(row["fault"])] for row in rejected)


def test_nobody_lost_anything_since_a_refused_line_names_no_student(imported: Imported) -> None:
    report = imported.report
    assert (report.absence_unknown, report.gone, report.cancelled, report.years) == (True, 0, 0, ())
    assert all(BEFORE in {each.element for each in listed} for listed in imported.lists.values())


def test_nothing_in_the_rejects_file_runs_in_a_spreadsheet(imported: Imported) -> None:
    cells = imported.registrar.rejected_cells()
    assert any("=cmd|" in cell for cell in cells), "the formula is told, as text"
    assert [cell for cell in cells if cell.lstrip().startswith(FORMULA_SIGNS)] == []


def test_the_file_is_as_hostile_as_an_event_allows() -> None:
    assert events.TEACHINGS_MAX == TEACHINGS_MAX


def test_the_generator_writes_the_file_and_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "hostile.csv"
    assert main(["--out", str(out), "--table"]) == 0
    assert out.read_bytes() == export()
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(CASES)
