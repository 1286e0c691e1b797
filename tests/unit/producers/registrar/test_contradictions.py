"""Lines of one student that contradict each other are said and held: none of them has the last word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.threshold import Threshold
from producers.registrar.profile import Column
from producers.registrar.profiles import apogee
from sesame.testing.servers.registrar_kit import MAMADOU, ZOE, Registrar

SECOND = ZOE | {"COD_ETP": "DULSF", "LIB_ETP": "DU Langue des signes", "TEM_IAE_PRM": "N"}
"""Another enrolment of the same student."""


@pytest.mark.parametrize("turned", [False, True], ids=["the file's order", "the other way round"])
@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("MAIL_PERSO", "zoe.lefevre@example.org", "zoe@example.com"),
        ("MAIL_PERSO", "zoe.lefevre@example.org", ""),
        ("COD_NNE_IND", "060904317KT", "060904318BC"),
        ("COD_NNE_IND", "060904317KT", ""),
        ("LIB_NOM_USU_IND", "Martin", ""),
        ("LIB_PR1_IND", "Zoé", "Zoë"),
        ("LIB_NOM_PAT_IND", "Lefèvre", "Lefebvre"),
        ("DATE_NAI_IND", "07/03/2008", "03/07/2008"),
    ],
)
def test_what_is_said_of_a_person_is_not_settled_by_the_last_line(
    registrar: Registrar, column: str, one: str, other: str, *, turned: bool
) -> None:
    first, second = (other, one) if turned else (one, other)
    report = registrar.import_rows(ZOE | {column: first}, MAMADOU, SECOND | {column: second})
    assert [message.event.student_number for message in registrar.log.messages] == ["22600018"]
    assert report.rejected == 2
    rows = registrar.rejected()
    assert [(row["line"], row["column"], row["fault"]) for row in rows] == [
        ("2", column, "contradicting_person"),
        ("4", column, "contradicting_person"),
    ]
    for row in rows:
        assert "lines 2, 4" in row["detail"]
        for line, value in ((2, first), (4, second)):
            shown = value if column != "DATE_NAI_IND" else "-".join(reversed(value.split("/")))
            assert f"line {line} has {shown or 'nothing'}" in row["detail"]


def test_capitals_make_no_other_mail_address(registrar: Registrar) -> None:
    report = registrar.import_rows(ZOE, SECOND | {"MAIL_PERSO": "Zoe.Lefevre@EXAMPLE.org"})
    assert (report.recorded, report.rejected) == (2, 0)


def test_two_primary_steps_of_one_year_are_held_and_the_others_go_on(registrar: Registrar) -> None:
    third = SECOND | {"COD_ETP": "L1MATH", "TEM_IAE_PRM": "O"}
    report = registrar.import_rows(ZOE, SECOND, third, MAMADOU)
    assert (report.recorded, report.rejected) == (2, 2)
    events = [message.event for message in registrar.log.messages]
    assert [getattr(event, "step") for event in events] == ["DULSF", "L1INFO"]  # noqa: B009 -- both kinds
    rows = registrar.rejected()
    assert [(row["line"], row["column"], row["fault"]) for row in rows] == [
        ("2", "TEM_IAE_PRM", "several_primary_steps"),
        ("4", "TEM_IAE_PRM", "several_primary_steps"),
    ]
    assert all("line 2 says so of L1INFO, line 4 says so of L1MATH" in row["detail"] for row in rows)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"TEM_IAE_PRM": "N"}, id="a second step that is not the primary one"),
        pytest.param({"TEM_IAE_PRM": "O", "ETA_IAE": "A"}, id="the former primary step is cancelled"),
        pytest.param({"TEM_IAE_PRM": "O", "ETA_IAE": "R"}, id="it is terminated"),
        pytest.param({"TEM_IAE_PRM": "O", "ETA_IAE": "C"}, id="it is not in force yet"),
        pytest.param({"TEM_IAE_PRM": "O", "COD_ANU": "2027"}, id="the primary step of the next year"),
    ],
)
def test_what_several_lines_of_a_student_may_bring_goes_on(
    registrar: Registrar, changes: dict[str, str]
) -> None:
    report = registrar.import_rows(ZOE, SECOND | changes, SECOND | changes)
    assert (report.published, report.duplicates, report.rejected) == (2, 1, 0)


def test_an_export_that_knows_no_primary_step_may_have_several(registrar: Registrar) -> None:
    columns = tuple(
        Column("primary", default="true") if column.field == "primary" else column
        for column in apogee().columns
    )
    path = registrar.write([ZOE, SECOND])
    report = registrar.import_(path, profile=replace(apogee(), columns=columns))
    assert (report.recorded, report.rejected) == (2, 0)


def test_a_student_who_was_imported_before_is_left_as_they_were(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, SECOND, MAMADOU)
    registrar.log.take()
    contradictory = SECOND | {"MAIL_PERSO": "zoe@example.com"}
    report = registrar.import_rows(ZOE, contradictory, MAMADOU, full_year=2026, threshold=Threshold(share=1))
    assert (report.rejected, report.published, report.affected_path) == (2, 0, None)
    assert registrar.log.records == []


def test_two_lines_about_one_step_are_told_with_what_differs(registrar: Registrar) -> None:
    registrar.import_rows(ZOE, ZOE | {"IP_VALIDE": "N", "COD_CMP": "DRT"})
    assert {row["detail"] for row in registrar.rejected()} == {
        "lines 2, 3 are about the same student, year, step and version, and differ in COD_CMP, IP_VALIDE"
    }


def test_two_lines_about_one_group_are_told_with_what_differs(registrar: Registrar) -> None:
    registrar.import_groups("22600017 UE1 TD1 2026 Algorithmique", "22600017 UE1 TD1 2026 Algo")
    assert {row["detail"] for row in registrar.rejected()} == {
        "lines 2, 3 are about the same student, year, unit and group, and differ in LIB_ELP"
    }
