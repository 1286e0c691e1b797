"""Teaching units and groups: what the registry makes of a student's lists, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from consumers.registry.settings import MembershipTemplate, RegistrySettings
from pipeline.timers import run_due
from schemas.account import Administrative, Pedagogical, Requirement
from schemas.events import IdentityDecided, IdentityDecision
from sesame.operations.targets.managed_cohorts import ManagedCohorts
from sesame.testing.servers.registry_kit import (
    LEA,
    PAUL,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
    taught,
)

TEMPLATES = (
    MembershipTemplate(key="{step}-{year}", name="{step_label} {year}"),
    MembershipTemplate(key="ue-{element}-{year}", name="{element_label}", requires=Requirement.PEDAGOGICAL),
    MembershipTemplate(
        key="{element}-{group}-{year}", name="{element_label}, {group}", requires=Requirement.PEDAGOGICAL
    ),
)
SETTINGS = RegistrySettings(mail_domain="etu.univ-exemple.fr", cohorts=TEMPLATES)


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    desk = RegistryHarness(store_url, SETTINGS)
    with closing(desk.database):
        yield desk


def cohorts(desk: RegistryHarness, number: str = LEA, *, met: bool = True) -> set[str]:
    return {each.key for each in desk.account(number).cohorts if each.met is met}


def test_each_unit_and_each_group_is_a_cohort(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(taught("UE1/TD2", "UE1/TP4", "UE2"))
    assert cohorts(desk) == {"L1INFO-2026", "ue-UE1-2026", "ue-UE2-2026", "UE1-TD2-2026", "UE1-TP4-2026"}
    names = {each.key: each.name for each in desk.account().cohorts}
    assert (names["ue-UE1-2026"], names["UE1-TD2-2026"]) == ("Cours UE1", "Cours UE1, TD2")


def test_a_list_that_comes_before_the_enrolment_counts_with_it(desk: RegistryHarness) -> None:
    desk.apply(taught("UE1/TD2"))
    assert desk.maybe_account() is None
    assert desk.letters() == []
    desk.apply(enrolled())
    assert "UE1-TD2-2026" in cohorts(desk)


def test_courses_wait_for_the_pedagogical_enrolment_and_the_account_does_not(desk: RegistryHarness) -> None:
    desk.apply(enrolled(pedagogical=Pedagogical.PENDING))
    desk.apply(taught("UE1/TD2"))
    assert cohorts(desk) == {"L1INFO-2026"}
    assert cohorts(desk, met=False) == {"ue-UE1-2026", "UE1-TD2-2026"}
    desk.apply(enrolled(sequence=2))
    assert cohorts(desk, met=False) == set()


def test_one_enrolment_of_the_year_is_enough(desk: RegistryHarness) -> None:
    desk.apply(enrolled(pedagogical=Pedagogical.PENDING))
    desk.apply(enrolled(sequence=2, step="DULSF", step_label="DU"))
    desk.apply(taught("UE1"))
    assert "ue-UE1-2026" in cohorts(desk)


def test_the_newest_list_of_a_source_wins_whatever_the_order(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(taught("UE2", sequence=2))
    desk.apply(taught("UE1", sequence=1))
    assert cohorts(desk) == {"L1INFO-2026", "ue-UE2-2026"}
    version = desk.account().version
    desk.apply(taught("UE2", sequence=3))
    assert desk.account().version == version, "nothing changes for anybody"
    desk.apply(taught(sequence=4))
    assert cohorts(desk) == {"L1INFO-2026"}


def test_lists_of_several_sources_add_up(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(taught("UE1/TD1"))
    desk.apply(taught("UE9", source="droit_groups"))
    desk.apply(taught(sequence=2))
    assert cohorts(desk) == {"L1INFO-2026", "ue-UE9-2026"}


def test_without_an_enrolment_of_its_year_a_list_gives_nothing(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(taught("UE1", year=2027))
    assert cohorts(desk) == {"L1INFO-2026"}
    desk.apply(taught("UE1"))
    desk.apply(cancelled())
    assert cohorts(desk) == cohorts(desk, met=False) == set()


def test_next_years_lists_take_none_of_this_years_away_before_its_end(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(taught("UE1/TD1"))
    desk.apply(activation())
    desk.apply(enrolled(sequence=2, year=2027, step="L2INFO", step_label="Licence 2"))
    desk.apply(taught("UE3/TD1", year=2027, sequence=2))
    both = {"UE1-TD1-2026", "ue-UE1-2026", "UE3-TD1-2027", "ue-UE3-2027", "L1INFO-2026", "L2INFO-2027"}
    assert cohorts(desk) == both
    desk.clock.set(datetime(2027, 11, 1, 6, tzinfo=UTC))
    assert run_due(desk.database, desk.registry.timers()) == 1
    assert cohorts(desk) == {"UE3-TD1-2027", "ue-UE3-2027", "L2INFO-2027"}


def test_a_person_of_two_numbers_follows_what_both_follow(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(PAUL, birth_name="Durand", given_name="Paul"))
    desk.apply(taught("UE1"))
    desk.apply(taught("UE2", student_number=PAUL))
    desk.apply(
        IdentityDecided(student_number=PAUL, other=LEA, decision=IdentityDecision.MERGE, reason_ref="r" * 12)
    )
    assert {"ue-UE1-2026", "ue-UE2-2026"} <= cohorts(desk)


def test_an_enrolment_that_is_not_in_force_opens_no_course(desk: RegistryHarness) -> None:
    desk.apply(enrolled(administrative=Administrative.PENDING))
    desk.apply(taught("UE1"))
    assert cohorts(desk) == set()


def test_a_cohort_that_nobody_is_in_any_more_is_still_known_for_ours(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(taught("UE1/TD1", "UE2"))
    desk.apply(taught("UE1/TD2", sequence=2))
    is_managed = ManagedCohorts(desk.database, TEMPLATES)
    ours = ("L1INFO-2026", "ue-UE1-2026", "ue-UE2-2026", "UE1-TD1-2026", "UE1-TD2-2026")
    assert [key for key in ours if not is_managed(key)] == []
    for other in ("ue-UE3-2026", "UE2--2026", "UE1-TD1-2025", "UE1-TD3-2026", "club-2026"):
        assert not is_managed(other)


@pytest.mark.parametrize(
    ("key", "name", "says"),
    [
        ("{element}-{step}", "x", "one template cannot name both"),
        ("{step}-{year}", "{element}", "one template cannot name both"),
        ("ue-{year}", "{element_label}", "must name {element} or {group}"),
        ("{element}-{element_label}", "x", "a key cannot name {element_label}"),
        ("{ue}", "x", "unknown field {ue}"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused_with_the_reason(
    key: str, name: str, says: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        MembershipTemplate(key=key, name=name)
    assert says in str(refused.value)
