"""Enrolments published by their components' turns, instead of by line."""

from __future__ import annotations

from sesame.testing.servers.registrar_kit import Registrar, Row, students

TURNS = {"LET": 0, "SCI": 1}


def lines() -> list[Row]:
    """Six students, of SCI, DRT, LET, SCI, LET and DRT."""
    components = ("SCI", "DRT", "LET", "SCI", "LET", "DRT")
    return [row | {"COD_CMP": code} for row, code in zip(students(6), components, strict=True)]


def published(registrar: Registrar) -> list[str]:
    return [message.event.student_number for message in registrar.log.messages]


def test_who_has_the_first_course_is_published_first_and_the_rest_by_line(registrar: Registrar) -> None:
    numbers = [row["COD_ETU"] for row in lines()]
    registrar.turns = TURNS
    registrar.import_rows(*lines())
    assert published(registrar) == [numbers[place] for place in (2, 4, 0, 3, 1, 5)]


def test_without_turns_all_are_published_by_line(registrar: Registrar) -> None:
    registrar.import_rows(*lines())
    assert published(registrar) == [row["COD_ETU"] for row in lines()]


def test_a_student_of_two_components_comes_with_the_first_one_with_both(registrar: Registrar) -> None:
    rows = lines()
    second = rows[3] | {"COD_CMP": "LET", "COD_ETP": "L1LET", "TEM_IAE_PRM": "N"}
    registrar.turns = TURNS
    registrar.import_rows(*rows, second)
    assert published(registrar)[:5] == [rows[place]["COD_ETU"] for place in (2, 3, 4, 3, 0)]


def test_what_a_complete_file_lacks_is_cancelled_last(registrar: Registrar) -> None:
    rows = lines()
    registrar.import_rows(*rows)
    registrar.log.take()
    registrar.turns = TURNS
    changed = [row | {"LIB_ETP": "Licence"} for row in rows[1:]]
    registrar.import_rows(*changed, full_year=2026, threshold=None)
    assert published(registrar)[-1] == rows[0]["COD_ETU"]
