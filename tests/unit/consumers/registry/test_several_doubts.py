"""One number in several doubts: each ends for itself, and nobody gets an account while one is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import pytest

from consumers.registry import identity_doubts as store
from consumers.registry.identity_doubts import Verdict
from schemas.account import Hold
from schemas.events import HoldLifted, HoldPlaced
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, enrolled

NAMESAKE, TWIN = LEA, "22009999"
INE = "0123456789A"
ANOTHER_DAY = date(2006, 1, 1)


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    """Paul has the names and birth date of the one, and the INE of the other."""
    desk = RegistryHarness(store_url)
    with closing(desk.database):
        desk.apply(enrolled(NAMESAKE))
        desk.apply(enrolled(TWIN, 2, birth_name="Durand", given_name="Paul", ine=INE))
        desk.apply(enrolled(PAUL, 3, ine=INE))
        yield desk


def verdicts(desk: RegistryHarness) -> dict[str | None, Verdict]:
    """How the doubts about Paul stand, by the other number."""
    with desk.database.read() as connection:
        return {doubt.other_number: doubt.state for doubt in store.of(connection, PAUL)}


def test_each_doubt_has_evidence_of_its_own(desk: RegistryHarness) -> None:
    with desk.database.read() as connection:
        found = {doubt.other_number: doubt.evidence for doubt in store.of(connection, PAUL)}
    assert found == {NAMESAKE: ("birth",), TWIN: ("ine",)}


def test_a_correction_ends_only_the_doubt_that_it_makes_untrue(desk: RegistryHarness) -> None:
    desk.apply(enrolled(PAUL, 4, ine=INE, birth_date=ANOTHER_DAY))
    assert verdicts(desk) == {NAMESAKE: Verdict.WITHDRAWN, TWIN: Verdict.OPEN}
    assert desk.maybe_account(PAUL) is None
    assert desk.person(PAUL).holds == {Hold.TECHNICAL}


def test_a_correction_of_the_other_one_frees_nobody_who_is_in_doubt_still(desk: RegistryHarness) -> None:
    desk.apply(enrolled(NAMESAKE, 5, birth_date=ANOTHER_DAY))
    assert verdicts(desk) == {NAMESAKE: Verdict.WITHDRAWN, TWIN: Verdict.OPEN}
    assert desk.maybe_account(PAUL) is None
    assert [letter.cause for letter in desk.letters(PAUL)] == ["doubtful_identity"]


def test_the_last_correction_gives_the_account(desk: RegistryHarness) -> None:
    desk.apply(enrolled(NAMESAKE, 5, birth_date=ANOTHER_DAY))
    desk.apply(enrolled(TWIN, 6, birth_name="Durand", given_name="Paul", ine="9876543210B"))
    assert verdicts(desk) == {NAMESAKE: Verdict.WITHDRAWN, TWIN: Verdict.WITHDRAWN}
    assert desk.account(PAUL).holds == frozenset()
    assert desk.letters(PAUL) == []


def test_lifting_a_later_hold_decides_nothing_about_a_doubt_that_was_withdrawn(desk: RegistryHarness) -> None:
    desk.apply(enrolled(PAUL, 4, birth_date=ANOTHER_DAY, ine="1111111111C"))
    desk.apply(HoldPlaced(student_number=PAUL, hold=Hold.TECHNICAL))
    desk.apply(HoldLifted(student_number=PAUL, hold=Hold.TECHNICAL))
    assert set(verdicts(desk).values()) == {Verdict.WITHDRAWN}
    desk.apply(enrolled(PAUL, 5, ine=INE))
    assert set(verdicts(desk).values()) == {Verdict.OPEN}
