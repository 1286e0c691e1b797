"""What the guard compares: the outline of a fact, and what a later one takes or changes."""

from __future__ import annotations

from typing import Any

import pytest

from producers.registrar.guard import Outline, OutlineChange, changes_between, changes_of_person, folded

FACT: dict[str, Any] = {
    "student_number": "22600017",
    "ine": "060904317KT",
    "birth_name": "Lefèvre d'Ormesson",
    "given_name": "Zoé",
    "birth_date": "2008-03-07",
    "personal_mail": "zoe@example.org",
    "mobile": "+33612345678",
    "administrative": "in_force",
    "pedagogical": "validated",
    "component": "SCI",
}
OUTLINE = Outline.of(FACT)
CANCELLED = Outline.of({"student_number": "22600017", "reason": "resigned"})
DIGESTS = ("identity", "ine", "personal_mail", "mobile")


def differing(**changes: Any) -> set[str]:
    """The parts of the outline that these changes of the fact change."""
    other = Outline.of(FACT | changes)
    return {name for name in Outline._fields if getattr(other, name) != getattr(OUTLINE, name)}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"birth_name": "Martin"}, {"identity"}),
        ({"birth_name": ""}, {"identity"}),
        ({"birth_name": None}, {"identity"}),
        ({"given_name": "Inès"}, {"identity"}),
        ({"given_name": None}, {"identity"}),
        ({"birth_date": "2008-07-03"}, {"identity"}),
        ({"birth_name": "Zoé", "given_name": "Lefèvre d'Ormesson"}, {"identity"}),
        ({"ine": "060904318BC"}, {"ine"}),
        ({"personal_mail": "lea@example.org"}, {"personal_mail"}),
        ({"mobile": "+33687654321"}, {"mobile"}),
        ({"administrative": "awaiting"}, {"state"}),
        ({"pedagogical": "pending"}, {"pedagogical"}),
        ({"component": "DRO"}, {"component"}),
        ({"student_number": "22600018"}, set(DIGESTS)),
        ({"birth_name": "LEFEVRE D ORMESSON", "given_name": "ZOE"}, set()),
        ({"personal_mail": "ZOE@example.org"}, set()),
        ({"usage_name": "Roux", "step_label": "Licence"}, set()),
    ],
)
def test_each_value_has_a_part_of_its_own_and_spelling_has_none(
    changes: dict[str, Any], parts: set[str]
) -> None:
    assert differing(**changes) == parts


def test_states_and_codes_are_kept_as_they_are_and_of_people_digests_only() -> None:
    assert (OUTLINE.state, OUTLINE.pedagogical, OUTLINE.component) == ("in_force", "validated", "SCI")
    assert all(len(getattr(OUTLINE, name)) == 16 for name in DIGESTS)
    assert "zoe" not in OUTLINE.text().casefold()
    assert "612345678" not in OUTLINE.text()


@pytest.mark.parametrize("nothing", ["", None])
@pytest.mark.parametrize("name", ["ine", "personal_mail", "mobile"])
def test_a_value_that_is_missing_leaves_no_digest(name: str, nothing: str | None) -> None:
    assert getattr(Outline.of(FACT | {name: nothing}), name) == ""


def test_equal_values_of_two_kinds_or_two_people_have_no_common_digest() -> None:
    outline = Outline.of(FACT | {"ine": "x", "personal_mail": "x"})
    other = Outline.of(FACT | {"ine": "x", "student_number": "22600018"})
    assert outline.ine != other.ine


def test_a_cancellation_keeps_what_was_known_of_the_person() -> None:
    assert tuple(CANCELLED) == ("cancelled", "", "", "", "", "", "")
    after = Outline.of({"student_number": "22600017", "reason": "resigned"}, OUTLINE)
    assert after == OUTLINE._replace(state="cancelled")


def test_what_the_memory_keeps_is_read_back() -> None:
    assert Outline.read(OUTLINE.text()) == OUTLINE
    assert Outline.read(None) is None
    of_before = OUTLINE.text().rpartition("|")[0]  # as kept by a version that knew no mobile
    assert Outline.read(of_before) == OUTLINE._replace(mobile="")


@pytest.mark.parametrize(
    ("before", "after", "gone", "changes"),
    [
        (OUTLINE, OUTLINE, False, []),
        (OUTLINE, CANCELLED, False, [OutlineChange.CANCELLED]),
        (OUTLINE, CANCELLED, True, [OutlineChange.GONE]),
        (None, CANCELLED, False, [OutlineChange.CANCELLED]),
        (None, CANCELLED, True, [OutlineChange.GONE]),
        (CANCELLED, CANCELLED, True, []),
        (None, OUTLINE, False, []),
        (OUTLINE, OUTLINE._replace(state="awaiting"), False, [OutlineChange.NOT_IN_FORCE]),
        (OUTLINE._replace(state="awaiting"), OUTLINE, False, []),
        (OUTLINE._replace(state="awaiting"), OUTLINE._replace(state="refused"), False, []),
        (OUTLINE, OUTLINE._replace(pedagogical="pending"), False, [OutlineChange.PEDAGOGICAL]),
        (OUTLINE._replace(pedagogical="pending"), OUTLINE, False, []),
        (OUTLINE._replace(pedagogical=""), OUTLINE._replace(pedagogical="pending"), False, []),
        (OUTLINE, OUTLINE._replace(component="DRO"), False, [OutlineChange.COMPONENT]),
        (OUTLINE._replace(component=""), OUTLINE, False, []),
        (
            OUTLINE,
            Outline("awaiting", "i", "n", "m", "pending", "DRO", "p"),
            False,
            [
                OutlineChange.IDENTITY,
                OutlineChange.INE,
                OutlineChange.PERSONAL_MAIL,
                OutlineChange.MOBILE,
                OutlineChange.NOT_IN_FORCE,
                OutlineChange.PEDAGOGICAL,
                OutlineChange.COMPONENT,
            ],
        ),
    ],
)
def test_what_is_taken_or_changes_is_told_and_what_comes_is_not(
    before: Outline | None, after: Outline, gone: bool, changes: list[OutlineChange]
) -> None:
    assert changes_between(before, after, gone=gone) == changes


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("identity", OutlineChange.IDENTITY),
        ("ine", OutlineChange.INE),
        ("personal_mail", OutlineChange.PERSONAL_MAIL),
        ("mobile", OutlineChange.MOBILE),
    ],
)
def test_a_number_seems_to_be_somebody_else_s_by_each_detail(name: str, change: OutlineChange) -> None:
    other = OUTLINE._replace(**{name: "0" * 16})
    assert changes_of_person(OUTLINE, other) == [change]
    assert changes_of_person(OUTLINE._replace(**{name: ""}), other) == []
    assert changes_of_person(OUTLINE, OUTLINE._replace(**{name: ""})) == [change]
    assert changes_of_person(OUTLINE, other._replace(state="cancelled")) == []


@pytest.mark.parametrize(
    ("name", "plain"),
    [("d'Orme-Sson É", "dormessone"), ("ﬁx 2", "fix2"), ("STRASSE ß", "strassess"), ("", "")],
)
def test_a_name_is_folded_to_its_letters_and_digits(name: str, plain: str) -> None:
    assert folded(name) == plain
