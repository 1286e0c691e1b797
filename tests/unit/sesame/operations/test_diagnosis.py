"""One person in one look: each target's state, since when, why, and what happens next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from consumers.kit import registration
from consumers.kit.connector import TargetObject
from consumers.propagation.rows import propagation
from pipeline import parking, status, target_states
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.parking import Kind, Parked
from pipeline.status import ConsumerStatus
from pipeline.target_states import Conclusion, State
from schemas.account import Hold, Lane, Stage
from schemas.language import keep_time
from sesame.operations.people.diagnosis.engine import Diagnosis, judge
from sesame.operations.people.diagnosis.person import (
    CONSUMER_SILENT_AFTER_S,
    PersonStatus,
    TargetStatus,
    person_status,
)
from sesame.operations.people.diagnosis.reasons import explain, explanations, for_operator
from sesame.operations.people.diagnosis.situation import Live, gather
from sesame.operations.people.diagnosis.words import glossary
from sesame.operations.people.support.bundle import SupportDesk, bundle_of
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START, Clock

LEA = "22001234"
TARGETS = ("directory", "mailbox", "moodle")
ROW = Parked(
    student_number=LEA,
    kind=Kind.RETRY,
    version=2,
    bells=1,
    due_at=START + 90,
    attempts=2,
    first_at=START - 60,
    age_s=5.0,
    counted_at=START,
    cause="target_busy",
    message="the site is busy",
    lane=Lane.PERSONAL,
    event_id="bell",
    replay=False,
)


class DiagnosisHarness:
    """A store in which things are as they are told to be."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock
        for target in TARGETS:
            self.consumer(target, "running")

    def account(self, version: int = 2, *, stage: Stage = Stage.ACTIVE, asked: bool = True) -> None:
        opened = datetime.fromtimestamp(START - 600, UTC) if asked else None
        account = account_of(
            LEA,
            version=version,
            stage=stage,
            holds=frozenset({Hold.SUSPENDED}),
            activated_at=opened,
            opened_at=opened,
        )
        stores.keep(self.database, account, changed_at=START)

    def ended(self, target: str, state: State, version: int = 2, **more: object) -> None:
        with self.database.write() as connection:
            states = target_states.states_of(connection, target, [LEA])
            epoch = 1 + (states[LEA].lease_epoch if states else 0)
            target_states.lease(connection, self.database, target, {LEA: epoch}, owner="x", until=START)
            applied = version if state is State.PROVISIONED else None
            ended = Conclusion(LEA, epoch, state, version, 1, applied_version=applied, **more)  # type: ignore[arg-type]
            assert target_states.conclude(connection, self.database, target, [ended], START - 30)

    def parked(self, target: str, **changes: object) -> None:
        with self.database.write() as connection:
            row = replace(ROW, **changes)  # type: ignore[arg-type]
            parking.park(connection, self.database, target, row, seen=None)

    def letter(
        self, target: str, name: str = "abcdef0123456789", *, cause: str = "identity_collision"
    ) -> None:
        letter = DeadLetter(name, target, LEA, 2, cause, "held by p.durand; ask", 1, START)
        with self.database.write() as connection:
            dead_letters.add(connection, self.database, letter)

    def consumer(self, target: str, state: str, reason: str = "", *, seen_at: float = START) -> None:
        said = ConsumerStatus(target, "life-1", state, reason, START - 120, seen_at)
        with self.database.write() as connection:
            status.report(connection, self.database, said)

    def said(self, action: str, hold: str, words: str) -> None:
        with self.database.write() as connection:
            operator_notes.keep(
                connection,
                self.database,
                action=action,
                about=hold,
                student_number=LEA,
                actor="camille",
                words=words,
            )
        self.clock.now += 1

    def look(self) -> PersonStatus:
        with self.database.read() as connection:
            found = person_status(
                connection, self.database, LEA, targets=TARGETS, follows={"mailbox": "directory"}
            )
        assert found is not None
        return found

    def at(self, target: str) -> TargetStatus:
        return next(each for each in self.look().targets if each.target == target)


@pytest.fixture
def desk(database: Database, clock: Clock) -> DiagnosisHarness:
    return DiagnosisHarness(database, clock)


def test_nobody_is_known_by_a_number_that_the_registry_does_not_have(desk: DiagnosisHarness) -> None:
    with desk.database.read() as connection:
        assert person_status(connection, desk.database, "99999999", targets=TARGETS, follows={}) is None


def test_before_activation_every_target_waits_for_the_student(desk: DiagnosisHarness) -> None:
    desk.account(stage=Stage.PRECREATED, asked=False)
    person = desk.look()
    assert person.state == "not_activated"
    assert {target.state for target in person.targets} == {"not_opened"}
    assert person.holds == ("suspended",)


def test_what_was_read_back_everywhere_is_complete(desk: DiagnosisHarness) -> None:
    desk.account()
    for target in TARGETS:
        desk.ended(target, State.PROVISIONED)
    with desk.database.write() as connection:
        connection.execute(
            insert(propagation).values(
                student_number=LEA,
                version=2,
                lane="personal",
                opened_at=START - 600,
                state="completed",
                completed_version=2,
                completed_at=START,
                elapsed_s=600.0,
            )
        )
    person = desk.look()
    assert (person.state, person.elapsed_s) == ("completed", 600.0)
    assert person.completed_at == datetime.fromtimestamp(START, UTC)
    assert desk.at("moodle") == TargetStatus(
        "moodle", "provisioned", datetime.fromtimestamp(START - 30, UTC), 2
    )


def test_an_older_version_is_on_its_way_and_a_follower_is_after_its_leader(desk: DiagnosisHarness) -> None:
    desk.account()
    for target in TARGETS:
        desk.ended(target, State.PROVISIONED, 1)
    assert [target.state for target in desk.look().targets] == ["queued", "after", "queued"]
    assert desk.at("mailbox").reason == "directory"
    assert desk.look().state == "in_progress"


def test_support_sees_who_placed_a_hold_and_why_in_their_words(desk: DiagnosisHarness) -> None:
    desk.account()
    assert desk.look().hold_notes == (), "the registry's own holds have no words"
    desk.said("hold.place", "suspended", "stolen password, ticket 4711")
    desk.said("hold.place", "administrative", "not in force any more")
    [note] = desk.look().hold_notes
    assert (note.hold, note.actor, note.words) == ("suspended", "camille", "stolen password, ticket 4711")
    assert note.since == datetime.fromtimestamp(START, UTC)
    desk.said("hold.lift", "suspended", "new password given")
    assert desk.look().hold_notes == (), "placed again by somebody without words"


def test_a_missing_precondition_is_shown_with_its_cause_and_what_is_missing(desk: DiagnosisHarness) -> None:
    desk.account()
    for target in ("directory", "mailbox"):
        desk.ended(target, State.PROVISIONED)
    reason = "pedagogical_enrolment_pending"
    desk.ended("moodle", State.WAITING, reason=reason, pending=("L1INFO-2026",))
    desk.parked("moodle", kind=Kind.WAITING)
    moodle = desk.at("moodle")
    assert (moodle.state, moodle.reason, moodle.pending) == ("waiting", reason, ("L1INFO-2026",))
    assert (moodle.cause, moodle.next) == (explain(reason).what, explain(reason).next)
    assert desk.look().state == "waiting"


def test_a_follower_of_a_waiting_leader_does_not_make_the_person_in_progress(desk: DiagnosisHarness) -> None:
    desk.account()
    desk.ended("directory", State.WAITING, reason="credential_needed")
    desk.ended("moodle", State.PROVISIONED)
    assert desk.look().state == "waiting"


def test_a_waiting_of_an_older_version_is_history(desk: DiagnosisHarness) -> None:
    desk.account()
    desk.ended("moodle", State.WAITING, 1, reason="pedagogical_enrolment_pending")
    assert desk.at("moodle").state == "queued"


def test_a_failure_names_the_dead_letter_and_what_it_says(desk: DiagnosisHarness) -> None:
    desk.account()
    desk.ended("moodle", State.FAILED, reason="identity_collision")
    desk.letter("directory", "of another consumer")
    desk.letter("moodle")
    moodle = desk.at("moodle")
    assert (moodle.state, moodle.reason) == ("failed", "identity_collision")
    assert (moodle.cause, moodle.message) == (explain("identity_collision").what, "held by p.durand; ask")
    assert moodle.next == "sesame dead-letters show abcdef012345"
    assert desk.look().state == "failed"


def test_a_retry_says_which_attempt_is_next_and_when(desk: DiagnosisHarness) -> None:
    desk.account()
    desk.ended("moodle", State.RETRYING, reason="target_busy")
    desk.parked("moodle")
    keep_time(ZoneInfo("Indian/Reunion"))
    moodle = desk.at("moodle")
    assert (moodle.state, moodle.cause) == ("retrying", "Target busy.")
    assert moodle.message == "the site is busy"
    due = datetime.fromtimestamp(START + 90, ZoneInfo("Indian/Reunion"))
    assert moodle.next == f"Attempt 3 at {due:%H:%M:%S}."
    assert moodle.since == datetime.fromtimestamp(START - 60, UTC)


def test_a_follower_whose_retry_rests_behind_its_leader_is_after_it(desk: DiagnosisHarness) -> None:
    desk.account()
    desk.parked("mailbox", due_at=None)
    assert desk.at("mailbox").state == "after"


@pytest.mark.parametrize(
    ("state", "word"), [("open", "down"), ("throttled", "throttled"), ("misconfigured", "misconfigured")]
)
def test_a_target_that_is_out_of_order_says_so_in_peoples_words(
    desk: DiagnosisHarness, state: str, word: str
) -> None:
    desk.account()
    desk.consumer("moodle", state, "connection refused")
    moodle = desk.at("moodle")
    assert (moodle.state, moodle.reason) == ("down", word)
    assert (moodle.cause, moodle.message) == (f"The target is {word}.", "connection refused")
    assert moodle.since == datetime.fromtimestamp(START - 120, UTC)


@pytest.mark.parametrize("how", ["silent", "stopped", "never"])
def test_a_consumer_that_does_not_run_is_said_to_an_operator(desk: DiagnosisHarness, how: str) -> None:
    desk.account()
    if how == "silent":
        desk.clock.now += CONSUMER_SILENT_AFTER_S + 1
    elif how == "stopped":
        desk.consumer("moodle", "stopped")
    targets = ("timetable",) if how == "never" else ("moodle",)
    with desk.database.read() as connection:
        person = person_status(connection, desk.database, LEA, targets=targets, follows={})
    assert person is not None
    [target] = person.targets
    assert (target.state, target.next) == ("down", "An operator starts `sesame run`.")


def test_of_two_processes_the_one_heard_of_last_counts(desk: DiagnosisHarness) -> None:
    desk.account()
    with desk.database.write() as connection:
        gone = ConsumerStatus("moodle", "life-0", "stopped", "", START - 900, START - 800)
        status.report(connection, desk.database, gone)
    assert desk.at("moodle").state == "queued"


def test_what_was_reached_is_shown_whatever_the_consumer_does_now(desk: DiagnosisHarness) -> None:
    desk.account()
    desk.ended("moodle", State.PROVISIONED)
    desk.consumer("moodle", "stopped")
    assert desk.at("moodle").state == "provisioned"


def test_a_token_that_nobody_has_explained_is_still_words(desk: DiagnosisHarness) -> None:
    assert explain("strange_thing").what == "Strange thing."
    assert explain(None).what == "Unknown."


def test_a_token_has_the_words_of_the_list_of_all() -> None:
    for token, listed in explanations().items():
        assert replace(explain(token), where=listed.where) == listed


@pytest.mark.parametrize(
    ("token", "loaded"),
    [
        ("identity_collision", []),
        (None, []),
        ("seal_broken", []),
        ("mailbox_full", ["active_directory", "apereo", "directory", "koha", "mailbox"]),
    ],
)
def test_what_a_token_means_loads_no_connector_that_does_not_say_it(
    token: str | None, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, usual = [], registration.Choice.of

    def noted(name: str) -> registration.Choice:
        asked.append(name)
        return usual(name)

    monkeypatch.setattr(registration.Choice, "of", noted)
    explain(token)
    assert asked == loaded


# --- what an operator must mend -----------------------------------------------------------------------


def found_of_moodle(desk: DiagnosisHarness, *users: TargetObject) -> set[str]:
    """The rules that hold for somebody whose Moodle shows these users."""
    situation = gather(desk.database, LEA, targets=TARGETS, follows={"mailbox": "directory"}, uses_cas=False)
    assert situation.account is not None
    open_ = situation.account.model_copy(update={"holds": frozenset()})
    seen = replace(situation, account=open_, live=Live(moodle=users))
    return {finding.rule for finding in judge(seen, live=True)}


@pytest.mark.parametrize("reason", ["moodle_email_taken", "moodle_username_taken", "adoption_undecided"])
def test_a_user_who_was_never_made_is_not_said_to_be_gone(desk: DiagnosisHarness, reason: str) -> None:
    desk.account()
    for target in ("directory", "mailbox"):
        desk.ended(target, State.PROVISIONED)
    desk.ended("moodle", State.WAITING, reason=reason)
    found = found_of_moodle(desk)
    assert "waits_for_operator" in found
    assert "moodle_user_missing" not in found


@pytest.mark.parametrize("state", [State.PROVISIONED, State.WAITING])
def test_a_user_who_was_there_and_is_not_any_more_is_gone(desk: DiagnosisHarness, state: State) -> None:
    desk.account()
    desk.ended(
        "moodle", state, reason=None if state is State.PROVISIONED else "pedagogical_enrolment_pending"
    )
    assert "moodle_user_missing" in found_of_moodle(desk)


def test_a_password_that_no_key_opens_is_told_of_the_target_that_lacks_it(desk: DiagnosisHarness) -> None:
    desk.account()
    for target in ("directory", "moodle"):
        desk.ended(target, State.FAILED, reason="given up")
    desk.letter("directory", "a" * 16, cause="schema_violation")
    desk.letter("moodle", "b" * 16, cause="seal_broken")
    situation = gather(desk.database, LEA, targets=TARGETS, follows={}, uses_cas=False)
    found = {(each.rule, each.service) for each in judge(situation, live=True)}
    assert ("password_needed", "moodle") in found
    assert ("password_needed", "directory") not in found
    assert ("given_up", "directory") in found
    assert ("given_up", "moodle") not in found


@pytest.mark.parametrize(
    ("target", "state", "reason"),
    [
        ("directory", State.WAITING, "administrative_enrolment_pending"),
        ("directory", State.WAITING, "credential_needed"),
        ("directory", State.WAITING, "password_replaced"),
        ("mailbox", State.WAITING, "mailbox_full"),
        ("mailbox", State.WAITING, "own_sieve_script_active"),
        ("moodle", State.WAITING, "pedagogical_enrolment_pending"),
        ("moodle", State.WAITING, "timetable_not_scheduled"),
        ("mailbox", State.FAILED, "redirect_invalid"),
        ("mailbox", State.FAILED, "redirect_refused"),
        ("mailbox", State.FAILED, "invalid_mail_redirect"),
        ("mailbox", State.FAILED, "mailbox_not_enabled"),
    ],
)
def test_a_reason_that_has_a_rule_is_not_told_by_the_rules_for_all(
    desk: DiagnosisHarness, target: str, state: State, reason: str
) -> None:
    desk.account()
    desk.ended(target, state, reason=reason)
    if state is State.FAILED:
        desk.letter(target, cause=reason)
    situation = gather(desk.database, LEA, targets=TARGETS, follows={}, uses_cas=False)
    found = {(each.rule, each.service) for each in judge(situation, live=False)}
    assert found.isdisjoint({("given_up", target), ("waits_for_operator", target)})


def test_who_must_act_is_said_of_every_reason_with_a_word_that_there_is() -> None:
    assert {each.who for each in explanations().values()} <= glossary()["who"].keys()
    assert {each.who for each in explanations().values() if each.kind == "retry"} == {"nobody"}


COLLISIONS = (
    *("moodle_email_taken", "moodle_username_taken", "moodle_duplicate_idnumber", "identity_collision"),
    *("mail_taken", "principal_taken", "student_number_taken", "value_taken", "login_mismatch"),
    *("student_number_ambiguous", "adoption_undecided", "group_not_ours", "a_token_of_another_version"),
)
OTHERS = (
    "pedagogical_enrolment_pending",
    "credential_needed",
    "mailbox_full",
    "observed_only",
    "moodle_busy",
)


def test_what_an_operator_must_mend_is_counted_apart() -> None:
    waiting = {("moodle", reason): 1 for reason in (*COLLISIONS[:2], *OTHERS)}
    letters = {("directory", cause): 2 for cause in COLLISIONS[2:]}
    assert for_operator(waiting, letters) == {
        **{("moodle", reason): 1 for reason in COLLISIONS[:2]},
        **{("directory", cause): 2 for cause in COLLISIONS[2:]},
    }


# --- for the desk -----------------------------------------------------------------------------------------


def test_of_a_target_s_letters_the_newest_is_told_and_of_the_registry_s_each(desk: DiagnosisHarness) -> None:
    desk.account()
    with desk.database.write() as connection:
        for name, consumer, at in (
            ("new moodle", "moodle", START + 50),
            ("old moodle", "moodle", START),
            ("one fact", "registry", START),
            ("other fact", "registry", START + 1),
        ):
            letter = DeadLetter(name, consumer, LEA, 2, "some_cause", "what it said", 1, at)
            dead_letters.add(connection, desk.database, letter)
    seen = gather(desk.database, LEA, targets=TARGETS, follows={}, uses_cas=False)
    assert [letter.id for letter in seen.letters] == ["one fact", "other fact", "new moodle"]


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/Paris", "02/07/2026 14:00:00"), ("Indian/Reunion", "02/07/2026 16:00:00")]
)
def test_a_desk_reads_its_own_time(desk: DiagnosisHarness, zone: str, shown: str) -> None:
    desk.account()
    seen = gather(desk.database, LEA, targets=TARGETS, follows={}, uses_cas=False)
    noon = datetime(2026, 7, 2, 12, 0, 0, tzinfo=UTC)
    found = Diagnosis(replace(seen, now=noon), (), live=False)
    bundle = bundle_of(found, code="ABCDE12345", language="fr", page_language="fr")
    text = bundle.text(SupportDesk("DSI", "a@b.example", "", zone))
    assert f"{shown} (heure de {zone})" in text
    assert "UTC" not in text
