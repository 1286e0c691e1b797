"""Acts of students and operators: activation, passwords, preferences, holds, and facts that come early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.registry.pending_facts import pending_facts
from pipeline.facts import Rejected
from schemas.account import Administrative, Hold, Lane, Stage
from schemas.catalogue import ACCOUNTS, ACTIVATIONS, BULK
from schemas.events import (
    Cause,
    CredentialChanged,
    HoldLifted,
    HoldPlaced,
    Preference,
    PreferenceChanged,
    TargetWaiting,
)
from sesame.testing.servers.registry_kit import (
    LEA,
    PAUL,
    START,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
)


def placed(hold: Hold) -> HoldPlaced:
    return HoldPlaced(student_number=LEA, hold=hold)


def lifted(hold: Hold) -> HoldLifted:
    return HoldLifted(student_number=LEA, hold=hold)


def prefers(preference: Preference, **more: Any) -> PreferenceChanged:
    return PreferenceChanged(student_number=LEA, preference=preference, **more)


# --- activation ---


def test_an_activation_opens_the_account_and_its_window(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    ref = desk.seal("{ARGON2}$argon2id$…")
    desk.apply(activation(credential_ref=ref, language="en"), at=START + timedelta(seconds=7))
    account = desk.account()
    assert (account.stage, account.lane) == (Stage.ACTIVE, Lane.PERSONAL)
    assert account.opened_at == account.activated_at == START + timedelta(seconds=7)
    assert (account.credential_ref, account.person.language) == (ref, "en")
    topic, event = desk.announced()[-1]
    assert (topic, event.cause, event.stage) == (ACCOUNTS, Cause.ACTIVATION, Stage.ACTIVE)


def test_an_activation_in_bulk_is_bulk_work_with_a_window(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation(), ACTIVATIONS + BULK)
    assert (desk.account().lane, desk.account().opened_at) == (Lane.BULK, START)
    assert desk.announced()[-1][0] == ACCOUNTS + BULK


def test_activating_twice_changes_nothing(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    first = desk.apply(activation())
    desk.redeliver(first)
    desk.apply(activation(), at=START + timedelta(hours=1))
    assert (desk.account().version, desk.account().activated_at) == (2, START)


def test_an_activation_before_the_administrative_enrolment_is_kept_on_the_account(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled(administrative=Administrative.AWAITING_PAYMENT))
    desk.apply(activation())
    account = desk.account()
    assert (account.stage, account.activated_at, account.version) == (Stage.PRECREATED, START, 2)


def test_a_student_whose_enrolment_was_cancelled_can_still_be_told_what_the_activation_waits_for(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled(administrative=Administrative.CANCELLED))
    desk.apply(activation())
    assert (desk.account().stage, desk.account().activated_at) == (Stage.PRECREATED, START)


# --- passwords ---


def test_the_newest_sealed_password_wins_whatever_the_order_of_events(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    older, newer = desk.seal("first"), desk.seal("second")
    desk.apply(CredentialChanged(student_number=LEA, credential_ref=newer))
    desk.apply(activation(credential_ref=older))
    assert desk.account().credential_ref == newer


def test_a_consumed_password_is_still_recognised(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    ref = desk.seal("first")
    desk.vault.consume({ref: None})
    desk.apply(CredentialChanged(student_number=LEA, credential_ref=ref))
    assert desk.account().credential_ref == ref


def test_somebody_else_s_password_is_never_taken(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    theirs = desk.seal("secret of Paul", PAUL)
    with pytest.raises(Rejected) as rejected:
        desk.apply(CredentialChanged(student_number=LEA, credential_ref=theirs))
    assert rejected.value.cause == "unknown_credential"
    with pytest.raises(Rejected):
        desk.apply(activation(credential_ref=theirs))
    assert (desk.account().credential_ref, desk.account().activated_at) == (None, None)


# --- preferences ---


def test_the_student_s_language_wins_over_the_registrar_s(desk: RegistryHarness) -> None:
    desk.apply(enrolled(language="fr"))
    desk.apply(prefers(Preference.LANGUAGE, value="en"))
    desk.apply(enrolled(sequence=2, language="fr", step="DUFLE"))
    assert desk.account().person.language == "en"
    desk.apply(prefers(Preference.LANGUAGE))
    assert desk.account().person.language == "fr"


def test_a_redirection_travels_by_reference_and_can_be_cleared(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    ref = desk.seal("lea@exemple.net", purpose="preference")
    desk.apply(prefers(Preference.MAIL_REDIRECT, value_ref=ref))
    assert desk.account().mail_redirect == "lea@exemple.net"
    desk.apply(prefers(Preference.MAIL_REDIRECT))
    assert desk.account().mail_redirect is None


def test_a_redirection_s_address_is_erased_from_the_vault_once_it_is_known(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    older = desk.seal("vieux@exemple.net", purpose="mail_redirect")
    ref = desk.seal("lea@exemple.net", purpose="mail_redirect")
    message = desk.apply(prefers(Preference.MAIL_REDIRECT, value_ref=ref))
    assert (desk.vault.open(ref), desk.vault.open(older)) == (None, None)
    desk.redeliver(message)
    desk.apply(prefers(Preference.MAIL_REDIRECT, value_ref=older))
    assert desk.account().mail_redirect == "lea@exemple.net"


@pytest.mark.parametrize(
    "address",
    ["lea", "lea@exemple", "lea@exemple.net, x@y.fr", "a@b.fr\nRCPT", "LEA.Martin@etu.univ-exemple.fr"],
)
def test_a_redirection_that_cannot_work_is_refused_without_being_repeated(
    desk: RegistryHarness, address: str
) -> None:
    desk.apply(enrolled())
    ref = desk.seal(address, purpose="preference")
    with pytest.raises(Rejected) as rejected:
        desk.apply(prefers(Preference.MAIL_REDIRECT, value_ref=ref))
    assert rejected.value.cause == "invalid_mail_redirect"
    assert address not in str(rejected.value)
    assert desk.account().mail_redirect is None


def test_a_preferred_given_name_is_shown_and_keeps_the_login(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    ref = desk.seal(" Noe\u0301 ", purpose="preference")
    desk.apply(prefers(Preference.PREFERRED_GIVEN_NAME, value_ref=ref))
    assert (desk.account().person.display_name, desk.account().login) == ("Noé Martin", "lea.martin")


@pytest.mark.parametrize("name", ["x" * 101, "Lé\x00a", "Léa\nMartin", "Lé\u2028a", "Léa\x1b[31m"])
def test_a_preferred_given_name_that_cannot_be_shown_is_refused(desk: RegistryHarness, name: str) -> None:
    desk.apply(enrolled())
    ref = desk.seal(name, purpose="preference")
    with pytest.raises(Rejected) as rejected:
        desk.apply(prefers(Preference.PREFERRED_GIVEN_NAME, value_ref=ref))
    assert rejected.value.cause == "invalid_preferred_given_name"


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ("\u202eNoa\u202c", "Noa"),
        ("Noe\u200f\u0301", "Noé"),
        ("\u0639\u0644\u06cc\u200c\u0631", "\u0639\u0644\u06cc\u200c\u0631"),  # a joiner is a letter's
        ("Zoé 🎓", "Zoé 🎓"),
        ("\u200f", "Léa"),
        ("x" * 100, "x" * 100),
    ],
)
def test_a_preferred_given_name_is_kept_as_it_is_less_what_turns_it_round(
    desk: RegistryHarness, chosen: str, shown: str
) -> None:
    desk.apply(enrolled())
    desk.apply(prefers(Preference.PREFERRED_GIVEN_NAME, value_ref=desk.seal(chosen, purpose="preference")))
    assert desk.account().person.shown_given_name == shown


def test_somebody_else_s_value_is_never_taken(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    theirs = desk.seal("paul@exemple.net", PAUL, purpose="preference")
    with pytest.raises(Rejected) as rejected:
        desk.apply(prefers(Preference.MAIL_REDIRECT, value_ref=theirs))
    assert rejected.value.cause == "unknown_reference"


# --- holds ---


def test_holds_are_counted_one_by_one(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    desk.apply(placed(Hold.SUSPENDED))
    desk.apply(placed(Hold.ADMINISTRATIVE))
    assert not desk.account().access_open
    desk.apply(lifted(Hold.SUSPENDED))
    assert desk.account().holds == {Hold.ADMINISTRATIVE}
    desk.apply(lifted(Hold.ADMINISTRATIVE))
    assert desk.account().access_open


def test_a_redelivered_hold_does_not_shut_what_was_opened_since(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    hold = desk.apply(placed(Hold.SUSPENDED))
    lift = desk.apply(lifted(Hold.SUSPENDED))
    versions = desk.account().version
    desk.redeliver(hold)
    desk.redeliver(lift)
    assert (desk.account().holds, desk.account().version) == (frozenset(), versions)


def test_a_hold_on_an_account_that_nobody_asked_for_opens_no_window(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(placed(Hold.SUSPENDED))
    assert (desk.account().version, desk.account().opened_at) == (2, None)


# --- what comes too early ---


def test_an_activation_before_the_import_is_applied_by_the_enrolment(desk: RegistryHarness) -> None:
    ref = desk.seal("{ARGON2}$argon2id$…")
    act = desk.apply(activation(credential_ref=ref))
    desk.redeliver(act)
    assert desk.maybe_account() is None
    desk.apply(enrolled(), at=START + timedelta(minutes=3))
    account = desk.account()
    assert (account.stage, account.lane, account.opened_at) == (Stage.ACTIVE, Lane.PERSONAL, START)
    assert account.credential_ref == ref
    desk.redeliver(act)
    assert desk.account().version == account.version


def test_early_facts_are_applied_in_the_order_in_which_they_came(desk: RegistryHarness) -> None:
    for value in ("fr", "en"):
        desk.apply(prefers(Preference.LANGUAGE, value=value))
        desk.clock.now += 1
    desk.apply(enrolled())
    assert desk.account().person.language == "en"


def test_an_early_fact_that_cannot_be_applied_does_not_hold_the_enrolment_up(desk: RegistryHarness) -> None:
    desk.apply(activation(credential_ref=desk.seal("secret of Paul", PAUL)))
    desk.apply(enrolled())
    assert desk.account().stage is Stage.PRECREATED
    assert [letter.cause for letter in desk.letters()] == ["unknown_credential"]


def test_a_cancellation_alone_does_not_make_anybody_known(desk: RegistryHarness) -> None:
    desk.apply(cancelled())
    desk.apply(activation())
    assert desk.maybe_account() is None
    desk.apply(enrolled(sequence=3))
    assert desk.account().stage is Stage.ACTIVE


def test_a_fact_about_nobody_is_dead_lettered_by_age(desk: RegistryHarness) -> None:
    desk.apply(activation())
    desk.clock.set(START + timedelta(days=13))
    with desk.transaction() as connection:
        assert desk.registry.expire_pending(connection, desk.clock()) == 0
    desk.clock.set(START + timedelta(days=15))
    with desk.transaction() as connection:
        assert desk.registry.expire_pending(connection, desk.clock()) == 1
        assert connection.execute(pending_facts.select()).all() == []
    assert [letter.cause for letter in desk.letters()] == ["unknown_student"]


def test_an_event_on_the_wrong_topic_is_refused(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    moment = datetime(2026, 9, 14, tzinfo=UTC)
    stray = TargetWaiting(
        student_number=LEA,
        version=1,
        target="moodle",
        lane=Lane.BULK,
        lease_epoch=0,
        sequence=0,
        attempt=1,
        started_at=moment,
        finished_at=moment,
        reason="somebody_else",
    )
    with pytest.raises(Rejected) as rejected:
        desk.apply(stray)
    assert rejected.value.cause == "unexpected_event"


def test_acts_before_the_enrolment_keep_their_order_when_the_clock_goes_back(desk: RegistryHarness) -> None:
    desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    desk.clock.set(START - timedelta(hours=1))
    desk.apply(HoldLifted(student_number=LEA, hold=Hold.SUSPENDED))
    desk.apply(enrolled())
    assert desk.person().holds == frozenset()
