"""Doubts that are settled by rule: which two a rule fits, and that it gives way to every other decision."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.registry import identity_doubts as store
from consumers.registry.doubt_rules import RULES
from consumers.registry.identity_doubts import Verdict
from consumers.registry.people import Identity, KnownPerson
from schemas.events import Event, IdentityDecided, IdentityDecision
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, enrolled

OTHER = "22009999"
INE, ANOTHER_INE = "0123456789A", "9876543210B"
BORN, LATER = date(2005, 1, 2), date(2006, 3, 4)


def person(
    birth_name: str, given_name: str, birth_date: date = BORN, ine: str | None = INE, **more: Any
) -> KnownPerson:
    identity = Identity(birth_name=birth_name, given_name=given_name, birth_date=birth_date, **more)
    return KnownPerson("1", identity, 1, ine=ine)


def fitting(mine: KnownPerson, theirs: KnownPerson) -> set[str]:
    found = {name for name, rule in RULES.items() if rule.fits(mine, theirs)}
    assert found == {name for name, rule in RULES.items() if rule.fits(theirs, mine)}
    return found


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (person("Le Goff", "Maëlle"), {"same-ine-and-birth"}),
        (person("LE GOFF", "MAELLE"), {"same-ine-and-birth"}),
        (person("Le Goff", "Maëlle", usage_name="Roux"), {"same-ine-and-birth"}),
        (person("Le Goff", "Gwenn"), set()),  # twins, of whom one has the other's INE
        (person("Le Goff", "Maëlla"), set()),
        (person("Le Goff", "Maëlle Anne"), set()),
        (person("Le Gof", "Maëlle"), set()),
        (person("Le Goff", ""), set()),
        (person("Maëlle", "Le Goff"), set()),
        (person("Le Goff", "Maëlle", LATER), set()),
        (person("Le Goff", "Maëlle", ine=None), set()),
        (person("Le Goff", "Maëlle", ine=ANOTHER_INE), {"different-ine"}),
        (person("Le Goff", "Gwenn", ine=ANOTHER_INE), set()),
        (person("Le Goff", "Maëlle", LATER, ANOTHER_INE), set()),
        (person("Benali", "Karim", LATER), {"same-ine-only"}),
        (person("Benali", "Karim"), set()),
        (person("Benali", "Karim", LATER, usage_name="Le Goff"), set()),
        (person("Benali", "Maëlle", LATER), set()),
        (person("Benali", "Karim", LATER, None), set()),
    ],
)
def test_a_rule_fits_what_it_says_and_nothing_beside_it(other: KnownPerson, expected: set[str]) -> None:
    assert fitting(person("Le Goff", "Maëlle"), other) == expected


def test_two_of_whom_neither_has_an_ine_are_nobodys_to_settle_by_rule() -> None:
    assert fitting(person("Le Goff", "Maëlle", ine=None), person("Le Goff", "Maëlle", ine=None)) == set()


_NAMES = st.sampled_from(["Martin", "MARTIN", "Martine", "Léa", "Lea", "Léo", "Roux", "李", "伟"])
_PEOPLE = st.builds(
    person, _NAMES, _NAMES, st.sampled_from([BORN, LATER]), st.sampled_from([INE, ANOTHER_INE, None])
)


@given(_PEOPLE, _PEOPLE)
def test_nobody_is_merged_by_rule_who_differs_in_anything(mine: KnownPerson, theirs: KnownPerson) -> None:
    merging = {name for name, rule in RULES.items() if rule.decision is IdentityDecision.MERGE}
    plain = str.maketrans("éÉ", "eE")
    told = [
        (
            each.ine,
            each.identity.birth_date,
            each.identity.birth_name.translate(plain).lower(),
            each.identity.given_name.translate(plain).lower(),
        )
        for each in (mine, theirs)
    ]
    assert bool(fitting(mine, theirs) & merging) is (told[0] == told[1] and mine.ine is not None)


def test_every_rule_merges_or_separates() -> None:
    decisions = {rule.decision for rule in RULES.values()}
    assert decisions == {IdentityDecision.MERGE, IdentityDecision.SEPARATE}
    assert [name for name, rule in RULES.items() if rule.name != name or not rule.meaning] == []


# --- at the registry ------------------------------------------------------------------------------------


def by_rule(rule: str, decision: IdentityDecision = IdentityDecision.MERGE) -> IdentityDecided:
    return IdentityDecided(student_number=PAUL, other=LEA, decision=decision, rule=rule)


def verdicts(desk: RegistryHarness) -> list[Verdict]:
    with desk.database.read() as connection:
        return [doubt.state for doubt in store.of(connection, PAUL)]


def in_doubt(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(PAUL, 2, ine=INE, step="M1DROIT"))
    assert verdicts(desk) == [Verdict.OPEN]


def test_a_decision_by_rule_takes_effect_as_any_other(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(by_rule("same-ine-and-birth"))
    assert verdicts(desk) == [Verdict.MERGED]
    assert {each.step for each in desk.account(LEA).enrolments} == {"L1INFO", "M1DROIT"}
    assert desk.person(PAUL).merged_into == LEA


def test_what_somebody_decided_meanwhile_stands_whatever_a_rule_says(desk: RegistryHarness) -> None:
    in_doubt(desk)
    desk.apply(IdentityDecided(student_number=PAUL, other=LEA, decision=IdentityDecision.SEPARATE))
    desk.clock.now += 60
    desk.apply(by_rule("same-ine-and-birth"))
    assert verdicts(desk) == [Verdict.SEPARATE]
    assert desk.person(PAUL).merged_into is None
    assert desk.account(PAUL).login == "lea.martin2"


@pytest.mark.parametrize(
    ("correction", "left"),
    [
        ({"ine": ANOTHER_INE, "birth_date": LATER}, Verdict.WITHDRAWN),
        ({"ine": INE, "given_name": "Zoé"}, Verdict.OPEN),  # the INE still agrees
        ({"ine": ANOTHER_INE}, Verdict.OPEN),
    ],
)
def test_a_correction_that_came_first_ends_what_the_rule_said(
    desk: RegistryHarness, correction: dict[str, Any], left: Verdict
) -> None:
    in_doubt(desk)
    desk.apply(enrolled(PAUL, 3, **{"step": "M1DROIT", **correction}))
    desk.apply(by_rule("same-ine-and-birth"))
    assert verdicts(desk) == [left]
    assert desk.person(PAUL).merged_into is None


@pytest.mark.parametrize("rule", ["different-ine", "a-rule-of-a-newer-version"])
def test_a_rule_that_does_not_fit_or_is_not_known_changes_nothing(desk: RegistryHarness, rule: str) -> None:
    in_doubt(desk)
    desk.apply(by_rule(rule))
    assert verdicts(desk) == [Verdict.OPEN]
    assert desk.maybe_account(PAUL) is None


def test_a_rule_never_speaks_of_two_whom_nobody_doubted(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine=INE))
    desk.apply(enrolled(PAUL, 2, birth_name="Durand", ine=ANOTHER_INE))
    desk.apply(by_rule("same-ine-and-birth"))
    assert verdicts(desk) == []
    assert desk.account(PAUL).login == "lea.durand"


def test_a_decision_by_rule_that_comes_twice_changes_nothing_more(desk: RegistryHarness) -> None:
    in_doubt(desk)
    events: list[Event] = [by_rule("same-ine-and-birth")] * 2
    desk.apply(events[0])
    account = desk.account(LEA)
    desk.apply(events[1])
    assert desk.account(LEA) == account
