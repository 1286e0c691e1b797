"""A hostile export: every case comes to what is said beside it, and the rest goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.hostile import CANCELLED, CASES, FILES, RECORDED, REPEATED, SKIPPED, Case, export, lines, main
from pipeline.threshold import Threshold
from producers.registrar.faults import REMEDIES, Fault, UnusableFile
from producers.registrar.report import ImportReport
from schemas.events import EnrolmentRecorded
from sesame.testing.servers.registrar_kit import Registrar

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class Imported:
    """The hostile export after its import."""

    def __init__(self, folder: Path) -> None:
        self.registrar = Registrar(folder)
        self.registrar.export.write_bytes(export())
        self.report: ImportReport = self.registrar.import_(
            self.registrar.export,
            threshold=Threshold(share=1),  # so many damaged lines would hold the file
        )
        self.messages = self.registrar.log.messages
        self.lines: dict[str, list[int]] = {}
        for number, (case, _) in enumerate(lines(), start=2):
            self.lines.setdefault(case.name, []).append(number)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    imported = Imported(tmp_path_factory.mktemp("hostile"))
    yield imported
    imported.registrar.close()


def published_lines(imported: Imported) -> dict[int, object]:
    """The event of each line that gave one: the line is in the source sequence."""
    return {
        getattr(message.event, "source_sequence") % 100_000_000: message.event  # noqa: B009 -- both kinds
        for message in imported.messages
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_line_comes_to_what_is_expected_of_it(imported: Imported, case: Case) -> None:
    numbers = imported.lines[case.name]
    rejected = [row for row in imported.registrar.rejected() if int(row["line"]) in numbers]
    published = {number: event for number, event in published_lines(imported).items() if number in numbers}
    if case.outcome in (RECORDED, CANCELLED, REPEATED):
        assert rejected == []
        assert list(published) == numbers[:1]
        assert isinstance(published[numbers[0]], EnrolmentRecorded) is (case.outcome != CANCELLED)
        return
    assert published == {}
    if case.outcome == SKIPPED:
        assert rejected == []
        return
    assert {int(row["line"]) for row in rejected} == set(numbers)
    assert case.outcome in {row["fault"] for row in rejected}
    assert all(row["remedy"] == REMEDIES[Fault(row["fault"])] for row in rejected)


def test_every_line_is_accounted_for(imported: Imported) -> None:
    report = imported.report
    stating = (case for case in CASES if case.outcome != SKIPPED)
    assert report.lines == sum(len(imported.lines[case.name]) for case in stating)
    assert report.lines == report.published + report.duplicates + report.rejected
    assert not report.held


def test_every_class_of_fault_that_a_csv_can_have_is_met(imported: Imported) -> None:
    others = {Fault.BROKEN_JSON, Fault.TOO_MANY_TEACHINGS}
    assert set(Fault) - set(imported.report.faults) == others


def test_nothing_in_the_rejects_file_runs_in_a_spreadsheet(imported: Imported) -> None:
    cells = imported.registrar.rejected_cells()
    assert any("=cmd|" in cell for cell in cells), "the formula is told, as text"
    assert [cell for cell in cells if cell.lstrip().startswith(FORMULA_SIGNS)] == []
    assert len(imported.registrar.rejects.read_bytes()) < 100_000, "ten megabytes are not repeated"


def test_names_are_published_as_given_without_being_run_or_changed(imported: Imported) -> None:
    events = [event for event in published_lines(imported).values() if isinstance(event, EnrolmentRecorded)]
    names = Counter(name for event in events for name in (event.birth_name, event.given_name))
    for name in (
        "*)(uid=*",
        "Robert'); DROP TABLE people;--",
        "<script>alert(1)</script>",
        "محمد",
        "Énora 🎓",
    ):
        assert names[name] == 1, name
    assert not any("\u202e" in name or "\u0301" in name for name in names if name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_export_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    content, says = FILES[name]
    registrar = Registrar(tmp_path)
    try:
        registrar.export.write_bytes(content)
        with pytest.raises(UnusableFile) as refused:
            registrar.import_(registrar.export)
        assert str(refused.value).startswith(str(registrar.export))
        assert says in str(refused.value)
        assert refused.value.remedy
        assert registrar.log.records == []
        assert not registrar.rejects.exists()
    finally:
        registrar.close()


def test_the_generator_writes_both_kinds_and_their_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "hostile.csv", tmp_path / "files"
    assert main(["--out", str(out), "--folder", str(folder), "--table"]) == 0
    assert out.read_bytes() == export()
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(CASES) + len(FILES)
