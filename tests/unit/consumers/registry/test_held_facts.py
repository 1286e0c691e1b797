"""Several facts of somebody else under one number: each is held, and goes, for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest

from consumers.registry import identity_doubts as store
from consumers.registry import pending_facts
from consumers.registry.identity_doubts import Doubt, Verdict
from schemas.events import IdentityDecided, IdentityDecision
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, cancelled, enrolled

KARIM: dict[str, Any] = {"birth_name": "Benali", "given_name": "Karim", "birth_date": date(2005, 1, 2)}
INES: dict[str, Any] = {"birth_name": "Sorel", "given_name": "Inès", "birth_date": date(2006, 7, 8)}
LAW, FRENCH = {"step": "M1DROIT"}, {"step": "DUFLE"}


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    """Léa's number, with two steps of Karim's that are held."""
    desk = RegistryHarness(store_url)
    with closing(desk.database):
        desk.apply(enrolled())
        desk.apply(activation())
        desk.apply(enrolled(sequence=2, **KARIM, **LAW))
        desk.apply(enrolled(sequence=3, **KARIM, **FRENCH))
        yield desk


def held(desk: RegistryHarness, number: str = LEA) -> int:
    with desk.database.read() as connection:
        return len(pending_facts.held(connection, number))


def doubts(desk: RegistryHarness, number: str = LEA) -> list[Doubt]:
    with desk.database.read() as connection:
        return store.of(connection, number)


def test_a_correction_of_one_step_leaves_the_other_one_held_and_the_doubt_open(desk: RegistryHarness) -> None:
    desk.apply(enrolled(sequence=4, **LAW))
    assert held(desk) == 1
    assert [doubt.state for doubt in doubts(desk)] == [Verdict.OPEN]
    desk.apply(cancelled(sequence=5, **FRENCH))
    assert held(desk) == 0
    assert [doubt.state for doubt in doubts(desk)] == [Verdict.WITHDRAWN]


def test_a_correction_under_one_number_says_nothing_about_another_one(desk: RegistryHarness) -> None:
    desk.apply(enrolled(PAUL, 6, birth_name="Durand", given_name="Paul", birth_date=date(2004, 3, 4)))
    desk.apply(enrolled(PAUL, 7, **INES, **LAW))
    desk.apply(enrolled(sequence=8, **LAW))
    desk.apply(enrolled(sequence=9, **FRENCH))
    assert (held(desk), held(desk, PAUL)) == (0, 1)
    assert [doubt.state for doubt in doubts(desk, PAUL)] == [Verdict.OPEN]


def test_a_decision_about_one_number_decides_nothing_about_another_one(desk: RegistryHarness) -> None:
    desk.apply(enrolled(PAUL, 6, birth_name="Durand", given_name="Paul", birth_date=date(2004, 3, 4)))
    desk.apply(enrolled(PAUL, 7, **INES, **LAW))
    desk.apply(IdentityDecided(student_number=LEA, other=None, decision=IdentityDecision.MERGE))
    assert [doubt.state for doubt in doubts(desk, PAUL)] == [Verdict.OPEN]
    assert (held(desk), held(desk, PAUL)) == (0, 1)


def test_who_was_decided_to_be_the_same_person_may_be_named_both_ways_with_the_hour(
    desk: RegistryHarness,
) -> None:
    desk.clock.now += 3600
    decision = desk.apply(IdentityDecided(student_number=LEA, other=None, decision=IdentityDecision.MERGE))
    found = doubts(desk)
    assert [doubt.state for doubt in found] == [Verdict.MERGED, Verdict.MERGED]
    assert {doubt.decided_at for doubt in found} == {decision.time.timestamp()}
    assert {doubt.claimed for doubt in found} == {None}, "nobody's names are kept"


def test_two_others_under_one_number_are_two_doubts_that_end_together(desk: RegistryHarness) -> None:
    desk.apply(enrolled(sequence=4, **INES, step="L1LEA"))
    assert len(doubts(desk)) == 2
    desk.apply(IdentityDecided(student_number=LEA, other=None, decision=IdentityDecision.SEPARATE))
    assert {doubt.state for doubt in doubts(desk)} == {Verdict.SEPARATE}
    assert {letter.cause for letter in desk.letters()} == {"number_reissued"}
    assert len(desk.letters()) == 3


def test_a_decision_makes_a_version_with_every_step_that_was_held(desk: RegistryHarness) -> None:
    before = desk.account().version
    desk.apply(IdentityDecided(student_number=LEA, other=None, decision=IdentityDecision.MERGE))
    assert desk.account().version > before
    assert {enrolment.step for enrolment in desk.account().enrolments} == {"L1INFO", "M1DROIT", "DUFLE"}
