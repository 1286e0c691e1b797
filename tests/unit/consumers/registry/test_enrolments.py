"""The registrar's facts, as the registry applies them: order, cancellation, doubt, and what is announced."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from consumers.registry.ledger import SqlLedger
from consumers.registry.settings import RegistrySettings
from pipeline.timers import armed, run_due
from schemas.account import Administrative, Hold, Lane, Pedagogical, Stage
from schemas.catalogue import ACCOUNTS, BULK
from schemas.events import Cause, Event, HoldLifted, ReplayRequested
from sesame.testing.servers.registry_kit import (
    LEA,
    PAUL,
    SETTINGS,
    START,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
)

Reopened = Callable[..., RegistryHarness]


@pytest.fixture
def reopened(store_url: str) -> Iterator[Reopened]:
    """Desks on one store, one after the other, each with the settings that it is given."""
    with ExitStack() as opened:

        def reopen(**given: Any) -> RegistryHarness:
            desk = RegistryHarness(store_url, **given)
            opened.enter_context(closing(desk.database))
            return desk

        yield reopen


def test_an_enrolment_makes_an_account_that_nobody_waits_for(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    account = desk.account()
    assert (account.version, account.stage, account.login) == (1, Stage.PRECREATED, "lea.martin")
    assert (account.lane, account.opened_at) == (Lane.BULK, None)
    [(topic, event)] = desk.announced()
    assert topic == ACCOUNTS + BULK
    assert (event.version, event.cause, event.lane) == (1, Cause.ENROLMENT, Lane.BULK)


def test_the_announcement_says_whom_and_never_who(desk: RegistryHarness) -> None:
    desk.apply(enrolled(ine="0123456789A", personal_mail="lea@exemple.net"))
    [(_, event)] = desk.announced()
    assert set(event.model_dump()) == {"student_number", "version", "stage", "holds", "lane", "cause"}


def test_a_student_enrolled_twice_keeps_one_login(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, step="DUFLE", step_label="DU FLE", component="LET", primary=False))
    account = desk.account()
    assert (account.version, account.login) == (2, "lea.martin")
    assert [cohort.key for cohort in account.cohorts] == ["DUFLE-2026", "L1INFO-2026"]


def test_the_same_fact_again_changes_nothing(desk: RegistryHarness) -> None:
    fact = desk.apply(enrolled())
    desk.redeliver(fact)
    desk.apply(enrolled(sequence=9))
    assert desk.account().version == 1
    assert len(desk.announced()) == 1


FACTS: list[Event] = [
    enrolled(sequence=1, pedagogical=Pedagogical.PENDING),
    enrolled(sequence=2, birth_name="Martin-Roux"),
    cancelled(sequence=3),
    enrolled(sequence=4, administrative=Administrative.PENDING),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_highest_source_sequence_wins_in_whatever_order_facts_come(
    desk: RegistryHarness, order: tuple[int, ...]
) -> None:
    for index in order:
        desk.apply(FACTS[index])
    account = desk.account()
    assert [enrolment.administrative for enrolment in account.enrolments] == [Administrative.PENDING]
    assert account.person.birth_name == "Martin"


def test_a_cancelled_step_takes_its_cohort_along(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, step="L1DROIT", component="DRT", primary=False))
    desk.apply(cancelled(sequence=3))
    account = desk.account()
    assert [cohort.key for cohort in account.cohorts] == ["L1DROIT-2026"]
    assert account.entities == ("DRT",)


def test_an_enrolment_recorded_as_cancelled_is_a_cancellation(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, administrative=Administrative.CANCELLED))
    assert desk.account().enrolments == ()


def test_a_cancellation_that_comes_first_keeps_an_older_enrolment_out(desk: RegistryHarness) -> None:
    desk.apply(cancelled(sequence=2))
    desk.apply(enrolled(sequence=1))
    assert desk.maybe_account() is None
    desk.apply(enrolled(sequence=3))
    assert desk.account().version == 1


def test_nobody_is_given_a_login_for_a_cancelled_enrolment(desk: RegistryHarness) -> None:
    desk.apply(enrolled(administrative=Administrative.CANCELLED))
    assert desk.maybe_account() is None
    with desk.transaction() as connection:
        assert SqlLedger(connection, desk.database, 0).held_by(LEA) == {}


def test_a_change_of_name_keeps_the_login_and_shows_the_new_name(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, usage_name="Lefebvre"))
    account = desk.account()
    assert (account.login, account.person.display_name) == ("lea.martin", "Léa Lefebvre")


def test_a_change_of_name_may_rename_the_mail_and_keep_the_address_before_for_ever(
    reopened: Reopened,
) -> None:
    desk = reopened(settings=SETTINGS.model_copy(update={"rename": "mail"}))
    desk.apply(enrolled())
    desk.apply(activation())
    desk.apply(enrolled(sequence=2, usage_name="Lefebvre"))
    account = desk.account()
    domain = SETTINGS.mail_domain
    assert (account.login, account.principal) == ("lea.martin", f"lea.martin@{domain}")
    assert (account.mail, account.aliases) == (f"lea.lefebvre@{domain}", (f"lea.martin@{domain}",))
    desk.apply(enrolled(sequence=3, usage_name="Lefebvre", step="DUFLE"))
    assert desk.account().mail == f"lea.lefebvre@{domain}"
    desk.apply(enrolled(sequence=4))
    assert (desk.account().mail, desk.account().aliases) == (
        f"lea.martin@{domain}",
        (f"lea.lefebvre@{domain}",),
    )


def test_a_name_that_changes_before_anybody_asked_for_the_account_follows_the_same_policy(
    reopened: Reopened,
) -> None:
    desk = reopened(settings=SETTINGS.model_copy(update={"rename": "mail"}))
    desk.apply(enrolled())
    desk.apply(enrolled(sequence=2, usage_name="Lefebvre"))
    desk.apply(enrolled(sequence=3, usage_name="Lefebvre", step="DUFLE"))
    desk.apply(activation())
    assert desk.account().mail == f"lea.lefebvre@{SETTINGS.mail_domain}"


def test_an_ine_is_what_the_newest_fact_says_or_none(desk: RegistryHarness) -> None:
    desk.apply(enrolled(sequence=2, ine="0123456789A"))
    desk.apply(enrolled(sequence=1, step="DUFLE"))
    assert desk.person().ine == "0123456789A"
    desk.apply(enrolled(sequence=3))
    assert desk.person().ine is None


# --- doubt ---


def test_homonyms_with_other_birth_dates_are_two_people(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL, birth_date=date(2006, 1, 2)))
    assert desk.account(LEA).login == "lea.martin"
    assert desk.account(PAUL).login == "lea.martin2"
    assert desk.letters(PAUL) == []


@pytest.mark.parametrize(
    "twin",
    [
        enrolled(PAUL, birth_name="MARTIN", given_name="Lea"),
        enrolled(PAUL, birth_name="Durand", ine="0123456789A"),
    ],
)
def test_a_second_number_of_the_same_person_waits_for_a_human(desk: RegistryHarness, twin: Event) -> None:
    desk.apply(enrolled(LEA, ine="0123456789A"))
    desk.apply(twin)
    assert desk.maybe_account(PAUL) is None
    assert desk.person(PAUL).holds == {Hold.TECHNICAL}
    [letter] = desk.letters(PAUL)
    assert letter.cause == "doubtful_identity"
    assert LEA in letter.message
    assert PAUL in letter.message
    assert "Martin" not in letter.message


def test_a_doubt_is_raised_once_and_survives_further_facts(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    first = desk.apply(enrolled(PAUL))
    desk.redeliver(first)
    desk.apply(enrolled(PAUL, sequence=2, step="DUFLE"))
    desk.apply(activation(PAUL))
    assert desk.maybe_account(PAUL) is None
    assert len(desk.letters(PAUL)) == 1


def test_lifting_the_technical_hold_says_that_they_are_two_people(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL))
    desk.apply(HoldLifted(student_number=PAUL, hold=Hold.TECHNICAL))
    account = desk.account(PAUL)
    assert (account.login, account.holds) == ("lea.martin2", frozenset())
    assert desk.letters(PAUL) == []
    desk.apply(enrolled(PAUL, sequence=2, step="DUFLE"))
    assert desk.account(PAUL).version == 2


def test_a_correction_by_the_registrar_ends_the_doubt(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(enrolled(PAUL))
    desk.apply(enrolled(PAUL, sequence=2, birth_date=date(2006, 1, 2)))
    assert desk.account(PAUL).holds == frozenset()
    assert desk.letters(PAUL) == []


def test_a_match_that_shows_later_leaves_a_working_account_alone(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA, ine="0123456789A"))
    desk.apply(enrolled(PAUL, birth_name="Durand"))
    desk.apply(activation(PAUL))
    desk.apply(enrolled(PAUL, sequence=2, birth_name="Durand", ine="0123456789A"))
    assert desk.account(PAUL).access_open
    assert [letter.cause for letter in desk.letters(PAUL)] == ["doubtful_identity"]


# --- the passage of time ---


def test_losing_every_enrolment_leads_through_grace_to_expiry_by_a_durable_timer(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    assert armed(desk.database) == {"year_ends": 1}
    desk.apply(cancelled())
    assert (desk.account().stage, desk.account().valid_until) == (Stage.GRACE, date(2026, 10, 14))
    assert armed(desk.database) == {"grace_ends": 1}
    desk.clock.set(datetime(2026, 10, 14, 23, 59, tzinfo=UTC))
    assert run_due(desk.database, desk.registry.timers()) == 0
    desk.clock.set(datetime(2026, 10, 15, tzinfo=UTC))
    assert run_due(desk.database, desk.registry.timers()) == 1
    expired = desk.account()
    assert (expired.stage, expired.version, expired.opened_at) == (
        Stage.EXPIRED,
        4,
        datetime(2026, 9, 14, 8, 0, tzinfo=UTC),
    )
    assert desk.announced()[-1][1].cause is Cause.LIFECYCLE
    assert armed(desk.database) == {}


def test_the_end_of_the_academic_year_opens_grace_without_any_fact(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    desk.clock.set(datetime(2027, 11, 1, tzinfo=UTC))
    run_due(desk.database, desk.registry.timers())
    assert (desk.account().stage, desk.account().cohorts) == (Stage.GRACE, ())


def test_a_timer_that_rings_too_early_is_armed_again(reopened: Reopened) -> None:
    desk = reopened(settings=RegistrySettings(year_end="09-30"))
    desk.apply(enrolled())
    desk.apply(activation())
    later = reopened(settings=RegistrySettings(year_end="10-31"), clock=desk.clock)
    later.clock.set(datetime(2027, 10, 2, tzinfo=UTC))
    run_due(later.database, later.registry.timers())
    assert later.account().stage is Stage.ACTIVE
    later.clock.set(datetime(2027, 11, 1, tzinfo=UTC))
    run_due(later.database, later.registry.timers())
    assert later.account().stage is Stage.GRACE


# --- the window ---


def test_a_bulk_change_of_an_active_account_opens_a_window_of_its_own(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    desk.propagated("completed", 2, completed_version=2)
    later = START + timedelta(days=1)
    desk.apply(enrolled(sequence=2, step="DUFLE"), at=later)
    assert (desk.account().lane, desk.account().opened_at) == (Lane.BULK, later)


@pytest.mark.parametrize("recorded", [None, ("in_progress", 2), ("completed", 1), ("failed", 2)])
def test_a_newer_version_inherits_lane_and_start_while_the_earlier_is_under_way(
    desk: RegistryHarness, recorded: tuple[str, int] | None
) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    if recorded is not None:
        state, version = recorded
        desk.propagated(state, version, completed_version=version if state == "completed" else 0)
    desk.apply(enrolled(sequence=2, step="DUFLE"), at=START + timedelta(minutes=5))
    account = desk.account()
    assert (account.version, account.lane, account.opened_at) == (3, Lane.PERSONAL, START)
    assert desk.announced()[-1][0] == ACCOUNTS


def test_an_enrolment_that_lifts_a_waiting_is_bulk_work_with_a_new_start(desk: RegistryHarness) -> None:
    desk.apply(enrolled(administrative=Administrative.PENDING))
    desk.apply(activation())
    assert (desk.account().stage, desk.account().opened_at) == (Stage.PRECREATED, START)
    desk.propagated("waiting", 2)
    later = START + timedelta(days=2)
    desk.apply(enrolled(sequence=2), at=later)
    account = desk.account()
    assert (account.stage, account.lane, account.opened_at) == (Stage.ACTIVE, Lane.BULK, later)


def test_the_versions_of_an_account_have_no_gap(desk: RegistryHarness) -> None:
    for sequence in range(1, 6):
        desk.apply(enrolled(sequence=sequence, step_label=f"Libellé {sequence}"))
    assert [event.version for _, event in desk.announced()] == [1, 2, 3, 4, 5]


def test_settings_that_change_are_applied_by_a_replay_to_the_registry(reopened: Reopened) -> None:
    desk = reopened()
    desk.apply(enrolled())
    template = SETTINGS.cohorts[0].model_copy(update={"key": "{component}-{step}"})
    changed = reopened(settings=SETTINGS.model_copy(update={"cohorts": (template,)}))
    for consumer in ("directory", "registry"):
        replay = ReplayRequested(student_number=LEA, consumer=consumer, replay_id=f"replay-{consumer}")
        changed.apply(replay)
    assert [cohort.key for cohort in changed.account().cohorts] == ["SCI-L1INFO"]
    assert changed.account().version == 2


def test_a_long_login_has_a_short_one_of_the_same_ledger(desk: RegistryHarness) -> None:
    desk.apply(enrolled(given_name="Marie-Antoinette", birth_name="Delatour"))
    account = desk.account()
    assert (account.login, account.short_login) == ("marie-antoinette.delatour", "marie-antoinette.del")
    born = date(2004, 1, 2)
    desk.apply(enrolled(PAUL, given_name="Marie-Antoinette", birth_name="Delatourette", birth_date=born))
    assert desk.account(PAUL).short_login == "marie-antoinette.d2"
    desk.apply(enrolled(given_name="Marie-Antoinette", birth_name="Delatour", sequence=9, year=2025))
    again = desk.account()
    assert (again.login, again.short_login) == ("marie-antoinette.delatour", "marie-antoinette.del")
    with desk.database.read() as connection:
        ledger = SqlLedger(connection, desk.database, 0.0)
        assert ledger.held_by(LEA)["login"] == "marie-antoinette.delatour"
        holders = ledger.holders([("login", "marie-antoinette.del"), ("login", "marie-antoinette.d2")])
    assert {name: each.student_number for (_, name), each in holders.items()} == {
        "marie-antoinette.del": LEA,
        "marie-antoinette.d2": PAUL,
    }
