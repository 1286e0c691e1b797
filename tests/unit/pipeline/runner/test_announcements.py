"""What an item ends as: every field of the announcement, and an id that only a redelivery shares."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import combinations
from typing import Any

import pytest

from pipeline.engine.bell import Bell, Place, WorkItem
from pipeline.parking import Kind, Parked
from pipeline.parking.rows import lane_for, replays_of
from pipeline.runner.announcement import Admitted, announcement, failure
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Retry, Waiting
from pipeline.target_states import State, TargetState
from schemas import catalogue
from schemas.account import Account, Lane
from schemas.envelope import Message
from schemas.events import TargetFailed, TargetProvisioned, TargetWaiting
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.narrowing import expect, present

NUMBER, TARGET = "22601234", "moodle"
START = 1_790_000_000.0
NOW = datetime.fromtimestamp(START + 2.5, UTC)
DIGEST = "sha256:" + "a" * 64
NOTHING = "sha256:" + sha256(b"null").hexdigest()
OPENED = datetime.fromtimestamp(START - 60, UTC)
DONE = Done(DIGEST, changed=True)
WAITS = Waiting("pedagogical_enrolment_pending", pending=("L1",))
DEAD = Dead("identity_collision", "held by somebody")


def account(version: int = 3, **fields: Any) -> Account:
    return account_of(NUMBER, "hugo.roux", version=version, **{"opened_at": OPENED, **fields})


def bell(
    event: str = "bell-1", version: int = 3, *, lane: Lane = Lane.PERSONAL, replay: bool = False
) -> Bell:
    place = Place(catalogue.by_lane(catalogue.ACCOUNTS, lane), 0, 7)
    return Bell(NUMBER, version, lane, event, replay, place)


def woken(event: str = "bell-1", *, replay: bool = False, lane: Lane = Lane.PERSONAL) -> WorkItem:
    """One who comes out of the parking lot."""
    return WorkItem((Bell(NUMBER, 3, lane, event, replay),))


def state(**fields: Any) -> TargetState:
    known = TargetState(
        target=TARGET,
        student_number=NUMBER,
        applied_version=2,
        digest=None,
        replayed_event_id=None,
        suspect=False,
        lease_owner=None,
        lease_epoch=4,
        lease_until=0.0,
        sequence=1,
        state=State.WAITING,
        state_version=3,
        reason=WAITS.reason,
        pending=WAITS.pending,
        since=START - 100,
    )
    return replace(known, **fields)


def lot(kind: Kind = Kind.WAITING, **fields: Any) -> Parked:
    row = Parked(NUMBER, kind, 3, 1, START, 0, START, 0.0, START, "c", "m", Lane.BULK, "bell-0", False)
    return replace(row, **fields)


def admitted(item: WorkItem | None = None, **fields: Any) -> Admitted:
    values: dict[str, Any] = {
        "item": item or WorkItem((bell(),)),
        "account": account(),
        "epoch": 5,
        "state": None,
        "parked": None,
        "started_at": START,
        "lease_until": START + 30,
        "began": 0.0,
    }
    return Admitted(**{**values, **fields})


def said(outcome: HandlerOutcome, who: Admitted | None = None, letter_id: str | None = None) -> Message:
    return present(announcement(TARGET, who or admitted(), outcome, NOW, letter_id))


# --- what is said -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [DONE, WAITS, DEAD])
def test_an_outcome_says_whom_which_version_when_and_under_which_lease(outcome: HandlerOutcome) -> None:
    message = said(outcome, admitted(parked=lot(Kind.RETRY, attempts=4, attempts_version=3)))
    event = message.event
    assert isinstance(event, TargetProvisioned | TargetWaiting | TargetFailed)
    assert (event.student_number, event.version, event.target) == (NUMBER, 3, TARGET)
    assert (event.lane, event.lease_epoch, event.sequence, event.attempt) == (Lane.PERSONAL, 5, 1, 5)
    assert (event.opened_at, event.started_at, event.finished_at) == (
        OPENED,
        datetime.fromtimestamp(START, UTC),
        NOW,
    )
    assert (message.source, message.time, message.caused_by) == ("/sesame/moodle", NOW, "bell-1")


def test_each_kind_says_what_is_its_own() -> None:
    done, waits, dead = said(DONE).event, said(WAITS).event, said(DEAD, letter_id="letter-7").event
    assert isinstance(done, TargetProvisioned)
    assert (done.digest, done.changed) == (DIGEST, True)
    assert isinstance(waits, TargetWaiting)
    assert (waits.reason, waits.pending) == ("pedagogical_enrolment_pending", ("L1",))
    assert isinstance(dead, TargetFailed)
    assert (dead.cause, dead.dead_letter_id) == ("identity_collision", "letter-7")
    assert not expect(TargetProvisioned, said(replace(DONE, changed=False)).event).changed


def test_a_failure_without_a_standing_letter_names_the_one_that_the_turn_leaves() -> None:
    who = admitted()
    assert expect(TargetFailed, said(DEAD, who).event).dead_letter_id == who.letter_id(TARGET)


@pytest.mark.parametrize("outcome", [Retry("busy", "later"), Closed()])
def test_what_is_tried_again_or_only_shut_is_not_announced(outcome: HandlerOutcome) -> None:
    assert announcement(TARGET, admitted(), outcome, NOW) is None


def test_a_fault_of_ours_is_announced_as_a_failure() -> None:
    item = WorkItem((bell(lane=Lane.BULK),))
    message = failure(TARGET, item, version=3, epoch=6, cause="internal_error", letter_id="letter-1", now=NOW)
    event = expect(TargetFailed, message.event)
    assert (event.student_number, event.version, event.target, event.lane) == (NUMBER, 3, TARGET, Lane.BULK)
    assert (event.lease_epoch, event.sequence, event.attempt) == (6, 1, 1)
    assert (event.started_at, event.finished_at) == (NOW, NOW)
    assert (event.cause, event.dead_letter_id) == ("internal_error", "letter-1")
    assert (message.source, message.time, message.caused_by) == ("/sesame/moodle", NOW, "bell-1")
    others = [
        failure(TARGET, item, version=v, epoch=e, cause="internal_error", letter_id=letter, now=NOW).id
        for v, e, letter in ((3, 6, "letter-1"), (4, 6, "letter-1"))
    ]
    assert others[0] == message.id
    assert others[1] != message.id


# --- ids --------------------------------------------------------------------------------------------------


def test_a_redelivery_has_the_same_id_whatever_lease_and_hour_it_has() -> None:
    later = admitted(epoch=9, started_at=START + 50, lease_until=START + 99)
    again = present(announcement(TARGET, later, DONE, datetime.fromtimestamp(START + 90, UTC)))
    assert again.id == said(DONE).id
    assert admitted().letter_id(TARGET) == later.letter_id(TARGET)


def test_whatever_is_another_announcement_has_another_id() -> None:
    retried = lot(Kind.RETRY, attempts=1, attempts_version=3)
    cases = {
        "usual": said(DONE),
        "waiting": said(WAITS),
        "failed": said(DEAD),
        "version": said(DONE, admitted(account=account(4))),
        "student": said(DONE, admitted(account=account(student_number="22605678"))),
        "cause": said(DONE, admitted(WorkItem((bell("bell-2"),)))),
        "attempt": said(DONE, admitted(parked=retried)),
        "looked at": said(DONE, admitted(parked=retried, state=state())),
        "looked at later": said(DONE, admitted(parked=retried, state=state(since=START - 50))),
        "in another state": said(DONE, admitted(parked=retried, state=state(state=State.FAILED))),
    }
    other = present(announcement("directory", admitted(), DONE, NOW))
    ids = {**{name: message.id for name, message in cases.items()}, "target": other.id}
    assert [pair for pair in combinations(ids, 2) if ids[pair[0]] == ids[pair[1]]] == []


@pytest.mark.parametrize("kind", [Kind.LEASED, Kind.RESYNC])
def test_one_who_was_parked_only_to_be_looked_at_says_what_was_said_first(kind: Kind) -> None:
    assert said(DONE, admitted(parked=lot(kind), state=state())).id == said(DONE).id
    assert said(DONE, admitted(state=state())).id == said(DONE).id


def test_a_dead_letter_s_id_is_that_of_one_attempt_at_one_version() -> None:
    usual = admitted()
    letters = {
        usual.letter_id(TARGET),
        usual.letter_id("directory"),
        admitted(account=account(4)).letter_id(TARGET),
        admitted(account=account(student_number="22605678")).letter_id(TARGET),
        admitted(WorkItem((bell("bell-2"),))).letter_id(TARGET),
        admitted(parked=lot(Kind.RETRY, attempts=1, attempts_version=3)).letter_id(TARGET),
    }
    assert len(letters) == 6


# --- nothing new ------------------------------------------------------------------------------------------

RECHECK = {"item": woken(), "parked": lot(), "state": state()}


def silent(outcome: HandlerOutcome = WAITS, **fields: Any) -> bool:
    return announcement(TARGET, admitted(**{**RECHECK, **fields}), outcome, NOW) is None


def test_a_recheck_that_finds_what_was_announced_says_nothing() -> None:
    assert silent()
    assert silent(item=WorkItem((bell("bell-0"),)))  # a redelivery of what is parked


@pytest.mark.parametrize(
    "fields",
    [
        {"state": None},
        {"state": state(state=State.FAILED)},
        {"state": state(state_version=2)},
        {"state": state(reason="credential_needed")},
        {"state": state(pending=("L2",))},
        {"state": state(pending=())},
        {"item": WorkItem((bell("bell-9"),))},
        {"item": WorkItem((bell("bell-9"),)), "parked": None},
        {"item": woken("again", replay=True)},
        {"parked": lot(replay=True, event_id="again")},
    ],
    ids=str,
)
def test_whatever_is_new_or_asked_for_is_said(fields: dict[str, Any]) -> None:
    assert not silent(**fields)


def test_a_replay_that_was_answered_is_not_answered_again() -> None:
    answered = state(replayed_event_id="again")
    assert silent(item=woken("again", replay=True), state=answered)
    assert not silent(item=woken("once more", replay=True), state=answered)


def test_only_a_waiting_may_be_nothing_new() -> None:
    assert not silent(DONE)
    assert not silent(DEAD)


# --- the item ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "compare"),
    [
        ({}, False),
        ({"state": state(suspect=True)}, True),
        ({"state": state(lease_owner="somebody")}, True),
        ({"state": state()}, False),
        ({"item": woken(), "parked": lot(Kind.WAITING)}, False),
        ({"item": woken(), "parked": lot(Kind.RETRY)}, False),
        ({"parked": lot(Kind.WAITING)}, False),
        ({"item": woken(replay=True)}, True),
        ({"parked": lot(Kind.LEASED, replay=True)}, True),
    ],
    ids=str,
)
def test_what_is_in_doubt_or_asked_for_is_compared(fields: dict[str, Any], *, compare: bool) -> None:
    who = admitted(**fields)
    assert (who.task.compare, who.task.close_only, who.task.account) == (compare, False, who.account)
    assert admitted(close_only=True).task.close_only


@pytest.mark.parametrize(
    ("found", "there"),
    [(None, False), (state(), False), (state(digest=NOTHING), False), (state(digest=DIGEST), True)],
    ids=["never called", "no outcome yet", "seen without it", "seen with it"],
)
def test_who_was_seen_in_the_target_was_there(found: TargetState | None, *, there: bool) -> None:
    assert admitted(state=found).task.was_there is there


@pytest.mark.parametrize(
    ("parked", "attempt"),
    [
        (None, 1),
        (lot(Kind.RETRY, attempts=4, attempts_version=3), 5),
        (lot(Kind.RETRY, attempts=4, attempts_version=2), 1),
        (lot(Kind.WAITING, attempts=4, attempts_version=3), 1),
    ],
)
def test_attempts_are_counted_of_one_version_and_of_failures_alone(
    parked: Parked | None, attempt: int
) -> None:
    assert admitted(parked=parked).attempt == attempt


def test_a_parked_replay_comes_before_those_that_rang_and_each_once() -> None:
    item = WorkItem((bell("b", replay=True), bell("a"), bell("c", replay=True)))
    assert replays_of(item, None) == ("b", "c")
    assert replays_of(item, lot(replay=True, event_id="z")) == ("z", "b", "c")
    assert replays_of(item, lot(replay=True, event_id="c")) == ("c", "b")
    assert replays_of(item, lot(event_id="z")) == ("b", "c")


@pytest.mark.parametrize(
    ("rang", "parked", "lane"),
    [
        (Lane.BULK, None, Lane.BULK),
        (Lane.PERSONAL, None, Lane.PERSONAL),
        (Lane.BULK, lot(Kind.RETRY, lane=Lane.PERSONAL), Lane.PERSONAL),
        (Lane.BULK, lot(Kind.WAITING, lane=Lane.PERSONAL), Lane.BULK),
        (Lane.BULK, lot(Kind.RETRY, lane=Lane.BULK), Lane.BULK),
        (Lane.PERSONAL, lot(Kind.RETRY, lane=Lane.BULK), Lane.PERSONAL),
    ],
)
def test_a_turn_is_a_person_s_while_a_person_waits(rang: Lane, parked: Parked | None, lane: Lane) -> None:
    item = WorkItem((bell(lane=rang),))
    assert lane_for(item, parked) is lane
    assert admitted(item, parked=parked).lane is lane


def test_a_lease_never_ends_later_than_a_whole_lease_from_now() -> None:
    who = admitted()
    assert who.leased_until(START + 10) == START + 30
    assert who.leased_until(START - 3600) == START - 3600 + 30
