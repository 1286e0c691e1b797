"""Of files of teaching units and groups: every number of a report, with more than one of each."""

from __future__ import annotations

from producers.registrar.guard import OutlineChange
from producers.registrar.profiles import choose_groups
from producers.registrar.report import ImportReport
from schemas.events import TeachingsRecorded
from sesame.testing.servers.registrar_kit import Registrar

LEA, PAUL, INES = "22600001", "22600002", "22600003"


def numbers(report: ImportReport) -> dict[str, int]:
    told = {**report.counts(), "spared": report.spared, "not_enrolled": report.not_enrolled}
    return {name: number for name, number in told.items() if number}


def test_two_of_each_are_counted_as_two(registrar: Registrar) -> None:
    everybody = [f"{student} UE1 TD1" for student in (LEA, PAUL, INES)]
    first = registrar.import_groups(*everybody, everybody[0])
    assert numbers(first) == {"lines": 4, "students": 3, "recorded": 3, "duplicates": 1, "not_enrolled": 3}
    again = registrar.import_groups(*everybody, full_year=2026)
    assert numbers(again) == {"lines": 3, "students": 3, "unchanged": 3, "not_enrolled": 3}


def test_two_students_of_whom_nothing_is_taken_are_counted_as_two(registrar: Registrar) -> None:
    registrar.import_groups(f"{LEA} UE1 TD1", f"{PAUL} UE1 TD1", f"{INES} UE1 TD1")
    report = registrar.import_groups(
        f"{LEA} UE2 TD1",
        f"{LEA} U*E TD1",
        f"{PAUL} UE2 TD1",
        f"{PAUL} U*E TD1",
        f"{INES} UE1 TD1",
        full_year=2026,
    )
    assert (report.spared, report.rejected, report.recorded, report.gone) == (2, 2, 2, 0)


def test_two_students_who_are_absent_are_counted_as_two(registrar: Registrar) -> None:
    registrar.import_groups(f"{LEA} UE1 TD1", f"{PAUL} UE1 TD1", f"{INES} UE1 TD1")
    report = registrar.import_groups(f"{INES} UE1 TD1", full_year=2026)
    assert (report.gone, report.unchanged) == (2, 1)
    assert [(row["student"], row["change"]) for row in registrar.affected_rows()] == [
        (LEA, "gone"),
        (PAUL, "gone"),
    ]


def test_of_several_units_that_get_groups_the_one_that_is_lost_is_told(registrar: Registrar) -> None:
    registrar.import_groups(f"{LEA} UE1 -", f"{LEA} UE2 -", f"{LEA} UE3 TD1")
    report = registrar.import_groups(f"{LEA} UE1 TD1", f"{LEA} UE3 TD2", full_year=2026)
    [year] = report.years
    assert year.changes == {OutlineChange.TEACHING: 1, OutlineChange.GROUP: 1}
    told = ("unit", "group", "change", "groups left")
    assert [[row[name] for name in told] for row in registrar.affected_rows()] == [
        ["UE2", "", "teaching", ""],
        ["UE3", "TD1", "group", "TD2"],
    ]


def pegase(registrar: Registrar, *students: str, state: str = "") -> ImportReport:
    """Import a line of each student in the Pégase form."""
    said = f', "statutInscription": "{state}"' if state else ""
    lines = (
        f'{{"codeApprenant": "{student}", "codePeriode": "PER-2026", "codeObjet": "UE1", '
        f'"libelleObjet": "Algèbre", "codeGroupe": "TD1"{said}}}\n'
        for student in students
    )
    registrar.groups.write_text("".join(lines), encoding="utf-8")
    return registrar.import_groups(path=registrar.groups, profile=choose_groups("pegase"))


def test_two_lists_that_lines_cancel_are_counted_as_two(registrar: Registrar) -> None:
    pegase(registrar, LEA, PAUL)
    report = pegase(registrar, LEA, PAUL, state="annulee")
    assert (report.cancelled, report.gone, report.recorded) == (2, 0, 0)


def test_a_unit_of_pegase_has_its_title_and_is_in_force_unless_said_otherwise(registrar: Registrar) -> None:
    report = pegase(registrar, LEA)
    assert (report.source, report.recorded, report.rejected) == ("pegase_groups", 1, 0)
    [message] = registrar.log.messages
    assert isinstance(message.event, TeachingsRecorded)
    [teaching] = message.event.teachings
    assert (teaching.key, teaching.label) == (("UE1", "TD1"), "Algèbre")
