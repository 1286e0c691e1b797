"""Whether a name may be somebody's: what adoption asks about an object that carries no student number."""

from __future__ import annotations

from datetime import date

import pytest

from consumers.registry.doubts import recognisable, shared
from consumers.registry.people import Identity

LEA = Identity(
    birth_name="Martin",
    usage_name="Roux",
    given_name="Léa",
    preferred_given_name="Camille",
    birth_date=date(2007, 5, 4),
)


@pytest.mark.parametrize(
    "names",
    [["MARTIN"], ["roux", "Hugo"], ["Lea"], ["Camille"], ["Martin-Durand"], ["Martim"], ["Durand", "Martin"]],
)
def test_any_of_somebody_s_names_however_it_is_spelt_may_be_theirs(names: list[str]) -> None:
    assert recognisable(LEA, names)


@pytest.mark.parametrize("names", [["Benali", "Karim"], ["M"], [], ["🎓"]])
def test_another_name_or_none_is_not_theirs(names: list[str]) -> None:
    assert not recognisable(LEA, names)


def test_somebody_without_usage_and_preferred_names_is_recognised_by_the_others() -> None:
    somebody = Identity(birth_name="Martin", given_name="Léa", birth_date=LEA.birth_date)
    assert recognisable(somebody, ["Lea"])
    assert not recognisable(somebody, ["Roux"])


def test_names_of_two_letters_are_words_and_of_one_letter_none() -> None:
    somebody = Identity(birth_name="Ng", given_name="D Ana", birth_date=LEA.birth_date)
    assert recognisable(somebody, ["Ng", "Karim"])
    assert not recognisable(somebody, ["D Karim"])


def test_four_letters_of_five_are_alike_and_three_of_four_are_not() -> None:
    assert recognisable(LEA, ["Rouxe"])
    assert recognisable(Identity(birth_name="abcde", given_name="x", birth_date=LEA.birth_date), ["abcdz"])
    assert not recognisable(Identity(birth_name="abcd", given_name="x", birth_date=LEA.birth_date), ["abcz"])


def test_what_two_people_share_is_told_by_kind() -> None:
    assert shared({"birth": "1", "ine": "2"}, {"birth": "1", "ine": "3"}) == {"birth"}
    assert shared({"birth": "1"}, {"ine": "1"}) == set()
