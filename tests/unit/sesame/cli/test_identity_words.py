"""What `sesame identities show` says of two sides."""

from __future__ import annotations

from sesame.cli.identity_words import compared
from sesame.operations.people.known_persons import Side

LEA = Side(
    student_number="30000002",
    birth_name="Martin",
    usage_name=None,
    given_name="Léa",
    preferred_given_name=None,
    birth_date="2007-05-04",
    ine="0123456789A",
    enrolments=("2026 L1INFO SCI",),
    holds=(),
    stage=None,
    login=None,
    mail=None,
    activated_at=None,
    merged_into=None,
)


def differing(other: Side | None) -> set[str]:
    return {label for label, _, _, differs in compared(LEA, other) if differs}


def test_what_tells_two_people_apart_is_marked() -> None:
    karim = LEA.model_copy(update={"given_name": "Karim", "student_number": "30000004"})
    assert differing(karim) == {"given name"}


def test_a_side_that_is_not_kept_any_more_differs_in_nothing() -> None:
    """The lines of a new holder go once somebody has decided."""
    assert differing(None) == set()
