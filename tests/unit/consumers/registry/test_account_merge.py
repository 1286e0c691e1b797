"""What an account contains, and the stages of its life: every rule of `consumers.registry.account`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from consumers.registry.account import Known, merge
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.people import Identity, KnownPerson, Names
from consumers.registry.settings import MembershipTemplate, RegistrySettings
from schemas.account import Account, Administrative, Enrolment, Hold, Pedagogical, Requirement, Stage

SETTINGS = RegistrySettings(mail_domain="etu.univ-exemple.fr", grace_days=30, year_end="10-31")
NAMES = Names("lea.martin", "lea.martin@etu.univ-exemple.fr", "lea.martin@univ-exemple.fr")
IDENTITY = Identity(birth_name="Martin", given_name="Léa", birth_date=date(2007, 5, 4))
TODAY = date(2026, 9, 14)
ACTIVATED_AT = datetime(2026, 9, 10, 8, 30, tzinfo=UTC)
LEA = KnownPerson("22001234", IDENTITY, identity_sequence=1)
ACTIVATED = replace(LEA, activated_at=ACTIVATED_AT.timestamp())


def step(code: str = "L1INFO", **more: Any) -> Enrolment:
    values = {
        "year": 2026,
        "step": code,
        "step_version": "261",
        "step_label": "Licence 1 Informatique",
        "component": "SCI",
        "administrative": Administrative.IN_FORCE,
        "pedagogical": Pedagogical.VALIDATED,
    }
    return Enrolment(**{**values, **more})


def known(*enrolments: Enrolment, person: KnownPerson = ACTIVATED, previous: Account | None = None) -> Known:
    return Known(person, NAMES, (NAMES.mail,), enrolments, previous)


def account(
    *enrolments: Enrolment,
    person: KnownPerson = ACTIVATED,
    previous: Account | None = None,
    settings: RegistrySettings = SETTINGS,
    today: date = TODAY,
) -> Account:
    return merge(known(*enrolments, person=person, previous=previous), Lifecycle(settings), today)


# --- stages ---


def test_an_account_is_precreated_until_the_student_asks_for_it() -> None:
    assert account(step(), person=LEA).stage is Stage.PRECREATED
    assert account(step()).stage is Stage.ACTIVE


@pytest.mark.parametrize("state", [Administrative.PENDING, Administrative.AWAITING_PAYMENT])
def test_an_activation_waits_for_the_administrative_enrolment(state: Administrative) -> None:
    waiting = account(step(administrative=state))
    assert (waiting.stage, waiting.activated_at) == (Stage.PRECREATED, ACTIVATED_AT)
    assert account(step(), previous=waiting).stage is Stage.ACTIVE


def test_losing_the_last_enrolment_opens_a_grace_period_and_then_expires() -> None:
    active = account(step())
    grace = account(previous=active)
    assert (grace.stage, grace.valid_until) == (Stage.GRACE, date(2026, 10, 14))
    later = account(previous=grace, today=date(2026, 10, 14))
    assert (later.stage, later.valid_until) == (Stage.GRACE, date(2026, 10, 14))
    expired = account(previous=later, today=date(2026, 10, 15))
    assert (expired.stage, expired.valid_until) == (Stage.EXPIRED, date(2026, 10, 14))
    assert account(previous=expired, today=date(2027, 1, 1)).same_state(expired)


def test_enrolling_again_ends_grace_and_expiry() -> None:
    grace = account(previous=account(step()))
    assert account(step("M1INFO"), previous=grace).stage is Stage.ACTIVE
    expired = account(previous=grace, today=date(2027, 1, 1))
    assert account(step("M1INFO"), previous=expired, today=date(2027, 1, 1)).stage is Stage.ACTIVE


def test_a_pending_enrolment_does_not_end_grace() -> None:
    grace = account(previous=account(step()))
    assert account(step(administrative=Administrative.PENDING), previous=grace).stage is Stage.GRACE


def test_an_academic_year_ends_on_the_settings_day() -> None:
    active = account(step())
    assert active.valid_until == date(2027, 10, 31)
    assert account(step(), previous=active, today=date(2027, 10, 31)).stage is Stage.ACTIVE
    ended = account(step(), previous=active, today=date(2027, 11, 1))
    assert (ended.stage, ended.enrolments, ended.cohorts) == (Stage.GRACE, (), ())


def test_the_last_year_enrolled_in_says_how_long_the_account_lasts() -> None:
    assert account(step(), step("L2INFO", year=2027)).valid_until == date(2028, 10, 31)


def test_an_erased_account_stays_erased_until_an_enrolment_is_in_force() -> None:
    erased = account(step()).model_copy(update={"stage": Stage.ERASED})
    awaiting = step(administrative=Administrative.AWAITING_PAYMENT)
    assert account(previous=erased).stage is Stage.ERASED
    assert account(awaiting, previous=erased).stage is Stage.ERASED
    assert account(step(), previous=erased).stage is Stage.ACTIVE


def test_time_changes_an_account_at_the_end_of_a_year_and_of_grace() -> None:
    active = account(step(), step("L2INFO", year=2027))
    changes_on = Lifecycle(SETTINGS).changes_on
    assert changes_on(active, TODAY) == date(2027, 11, 1)
    assert changes_on(account(previous=active), TODAY) == date(2026, 10, 15)
    assert changes_on(account(step(), person=LEA), TODAY) is None
    expired = account(previous=account(previous=active), today=date(2029, 1, 1))
    assert changes_on(expired, date(2029, 1, 1)) is None


# --- cohorts and groups ---


def test_each_step_gives_its_cohort_by_default() -> None:
    made = account(step(), step("L1DROIT", component="DRT", step_label="Licence 1 Droit"))
    assert [(cohort.key, cohort.name, cohort.met) for cohort in made.cohorts] == [
        ("L1DROIT-2026", "Licence 1 Droit 2026", True),
        ("L1INFO-2026", "Licence 1 Informatique 2026", True),
    ]


def test_a_pending_administrative_enrolment_keeps_its_cohort_pending() -> None:
    made = account(step(), step("L1DROIT", administrative=Administrative.AWAITING_PAYMENT))
    assert {cohort.key: cohort.met for cohort in made.cohorts} == {"L1INFO-2026": True, "L1DROIT-2026": False}
    assert {cohort.requires for cohort in made.cohorts} == {Requirement.ADMINISTRATIVE}


def test_a_step_in_two_versions_is_one_cohort_and_one_version_in_force_is_enough() -> None:
    made = account(step(step_version="251", administrative=Administrative.PENDING), step(step_version="261"))
    assert [(cohort.key, cohort.met) for cohort in made.cohorts] == [("L1INFO-2026", True)]


def test_a_pedagogical_cohort_waits_for_validation_and_the_others_do_not() -> None:
    settings = RegistrySettings(
        cohorts=(
            MembershipTemplate(key="{step}-{year}", name="{step_label}"),
            MembershipTemplate(
                key="ip-{step}-{year}", name="Cours de {step_label}", requires=Requirement.PEDAGOGICAL
            ),
        )
    )
    made = account(step(pedagogical=Pedagogical.PENDING), settings=settings)
    assert {cohort.key: cohort.met for cohort in made.cohorts} == {
        "L1INFO-2026": True,
        "ip-L1INFO-2026": False,
    }
    validated = account(step(), previous=made, settings=settings)
    assert all(cohort.met for cohort in validated.cohorts)


def test_a_validated_pedagogical_enrolment_alone_opens_nothing() -> None:
    settings = RegistrySettings(
        cohorts=(MembershipTemplate(key="{step}", name="{step}", requires=Requirement.PEDAGOGICAL),)
    )
    made = account(step(administrative=Administrative.PENDING), settings=settings)
    assert [cohort.met for cohort in made.cohorts] == [False]


def test_groups_of_the_directory_come_from_templates_of_their_own() -> None:
    settings = RegistrySettings(
        groups=(MembershipTemplate(key="etudiants-{component}", name="Étudiants {component}"),)
    )
    made = account(step(), step("L2INFO"), settings=settings)
    assert [group.key for group in made.groups] == ["etudiants-SCI"]


# --- the rest of the account ---


def test_the_main_component_is_the_primary_step_s() -> None:
    made = account(
        step("DUFLE", component="LET"),
        step("L1INFO", component="SCI", primary=True),
        step("L1DROIT", component="DRT", administrative=Administrative.PENDING),
        step("L1MATH", component="SCI"),
    )
    assert made.entities == ("SCI", "LET")
    assert made.enrolments[0].step == "L1INFO"


def test_the_order_in_which_enrolments_are_read_changes_nothing() -> None:
    several = [step("L1INFO", primary=True), step("L1DROIT"), step("DUFLE", year=2025)]
    assert account(*several).same_state(account(*reversed(several)))


def test_a_student_is_a_member_and_in_grace_an_affiliate() -> None:
    active = account(step())
    assert active.affiliations == ("student", "member")
    grace = account(previous=active)
    assert grace.affiliations == ("affiliate",)
    assert account(previous=grace, today=date(2027, 1, 1)).affiliations == ()


def test_what_the_student_settled_wins_over_the_registrar() -> None:
    registrar = IDENTITY.model_copy(update={"preferred_given_name": "Lou", "language": "en"})
    assert account(step(), person=replace(ACTIVATED, identity=registrar)).person.display_name == "Lou Martin"
    settled = replace(ACTIVATED, identity=registrar, preferred_given_name="Noé", language="fr")
    made = account(step(), person=settled)
    assert (made.person.display_name, made.person.language) == ("Noé Martin", "fr")


def test_the_personal_mail_never_becomes_the_redirection() -> None:
    made = account(step(), person=replace(ACTIVATED, personal_mail="lea@exemple.net"))
    assert made.mail_redirect is None
    assert "lea@exemple.net" not in made.model_dump_json()


def test_holds_shut_access_and_leave_the_stage() -> None:
    made = account(step(), person=replace(ACTIVATED, holds=frozenset({Hold.SUSPENDED})))
    assert (made.stage, made.access_open) == (Stage.ACTIVE, False)


def test_every_other_address_of_the_student_is_an_alias() -> None:
    mails = (NAMES.mail, "lea.bernard@etu.univ-exemple.fr")
    made = merge(Known(ACTIVATED, NAMES, mails, (step(),)), Lifecycle(SETTINGS), TODAY)
    assert made.aliases == ("lea.bernard@etu.univ-exemple.fr",)


def test_versions_grow_by_one() -> None:
    first = account(step(), person=LEA)
    assert (first.version, account(step(), previous=first).version) == (1, 2)


def test_a_year_end_that_does_not_exist_every_year_is_refused() -> None:
    with pytest.raises(ValueError, match="year_end"):
        RegistrySettings(year_end="02-29")
