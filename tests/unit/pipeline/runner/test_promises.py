"""The worker's promises, on the real embedded log and store: each end is stated, a crash loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from pipeline import target_states
from pipeline.errors import DependencyDown, Misconfigured, TargetDown
from pipeline.eventlog.port import NewRecord
from pipeline.outbox import OutboxRelay
from pipeline.parking import Kind
from pipeline.runner import Effects
from pipeline.target import Dead, HandlerOutcome, Retry, Task, Waiting
from schemas import catalogue
from schemas.account import Stage
from schemas.events import (
    DeadLetterRecorded,
    DeadLetterResolved,
    TargetFailed,
    TargetProvisioned,
    TargetWaiting,
)
from sesame.testing.servers.effects_kit import leader_has
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.pipeline_kit import Plant, live_mailbox, live_plant

plant = live_plant


def test_a_bell_ends_in_a_read_back_an_outcome_and_a_committed_offset(plant: Plant) -> None:
    plant.account("A", 3)
    cause = plant.ring("A", 3)
    plant.start()
    plant.until(lambda: plant.applied("A") == 3)
    plant.stop()
    [message] = plant.read(catalogue.OUTCOMES)
    assert isinstance(message.event, TargetProvisioned)
    assert (message.event.version, message.caused_by, message.event.attempt) == (3, cause, 1)
    assert plant.lag() == 0


def test_several_versions_of_one_student_are_one_write_of_the_newest(plant: Plant) -> None:
    plant.account("A", 4)
    for version in (1, 2, 3, 4):
        plant.ring("A", version)
    plant.start()
    plant.until(lambda: plant.applied("A") == 4)
    plant.stop()
    assert plant.target.calls == [["A"]]


def test_a_redelivered_bell_changes_nothing_and_says_nothing_again(plant: Plant) -> None:
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    plant.ring("A")
    plant.start()
    plant.account("B")
    plant.ring("B")
    plant.until(lambda: plant.applied("B") == 1)
    plant.stop()
    assert plant.lag() == 0
    assert plant.target.calls == [["A"], ["B"]]
    assert len(plant.outcomes()) == 2


def test_a_replay_of_an_applied_version_is_compared_and_announced_once(plant: Plant) -> None:
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    cause = plant.replay("A")
    plant.until(lambda: len(plant.target.calls) == 2)
    plant.replay("A")  # the same event again: a redelivery
    plant.replay("A", tell_apart=2)
    plant.until(lambda: len(plant.target.calls) == 3)
    plant.stop()
    assert plant.target.compared == ["A", "A"]
    messages = plant.read(catalogue.OUTCOMES)
    assert [message.caused_by for message in messages].count(cause) == 1
    assert len({message.id for message in messages}) == 3


def test_a_transient_failure_is_parked_tried_again_and_leaves_the_lot(plant: Plant) -> None:
    failures = iter([Retry("target_busy", "busy"), Retry("target_busy", "busy")])
    plant.target.script = lambda _task: next(failures, None)
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    assert plant.parked("A") is None
    [outcome] = plant.outcomes()
    assert isinstance(outcome, TargetProvisioned)
    assert outcome.attempt == 3
    assert plant.lag() == 0


def test_one_students_failure_does_not_hold_up_the_others(plant: Plant) -> None:
    plant.target.script = lambda task: (
        Retry("target_busy", "busy", after_s=60.0) if task.account.student_number == "A" else None
    )
    for number in ("A", "B", "C"):
        plant.account(number)
        plant.ring(number)
    plant.start()
    plant.until(lambda: plant.applied("B") == 1 and plant.applied("C") == 1)
    plant.until(lambda: plant.parked("A") is not None)
    plant.stop()
    assert plant.lag() == 0  # the parked student holds no offset back


def test_an_exhausted_retry_is_a_dead_letter_and_a_newer_success_resolves_it(plant: Plant) -> None:
    plant.target.script = lambda _task: Retry("target_busy", "busy")
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: len(plant.letters()) == 1)
    [letter] = plant.letters()
    assert (letter.cause, letter.attempts, letter.student_number) == ("target_busy", 4, "A")
    assert plant.parked("A") is None
    plant.target.script = lambda _task: None
    plant.account("A", 2)
    plant.ring("A", 2)
    plant.until(lambda: plant.applied("A") == 2)
    plant.stop()
    assert plant.letters() == []
    relay = OutboxRelay(plant.database, plant.producer)
    relay.send_page()
    events = [message.event for message in plant.read(catalogue.DEAD_LETTERS)]
    assert [event.type for event in events] == [DeadLetterRecorded.type, DeadLetterResolved.type]
    assert [event.type for event in plant.outcomes()] == [TargetFailed.type, TargetProvisioned.type]


def test_a_dead_letter_carries_the_headers_that_kafka_tools_know(plant: Plant) -> None:
    plant.target.script = lambda _task: Dead("identity_collision", "held by somebody else")
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: len(plant.letters()) == 1)
    plant.stop()
    OutboxRelay(plant.database, plant.producer).send_page()
    consumer = plant.log.consumer("look", [catalogue.DEAD_LETTERS], member="test")
    [record] = consumer.poll(10, 0.0)
    consumer.close()
    headers = dict(record.headers)
    assert headers["kafka_dlt-original-topic"] == catalogue.ACCOUNTS.encode()
    assert headers["kafka_dlt-exception-message"] == b"held by somebody else"
    assert headers["__connect.errors.topic"] == catalogue.ACCOUNTS.encode()


def test_waiting_is_no_failure_is_said_once_and_ends_by_the_event_that_lifts_it(plant: Plant) -> None:
    waiting = Waiting("pedagogical_enrolment_pending", ("L2 Informatique 2026",), recheck_after_s=0.05)
    plant.target.script = lambda task: waiting if task.account.version == 1 else None
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: len(plant.target.calls) >= 3)  # looked at again, now and then
    row = present(plant.parked("A"))
    assert (row.kind, row.attempts) == (Kind.WAITING, 0)
    plant.account("A", 2)
    plant.ring("A", 2)
    plant.until(lambda: plant.applied("A") == 2)
    plant.stop()
    assert plant.parked("A") is None
    assert plant.letters() == []
    first, second = plant.outcomes()
    assert isinstance(first, TargetWaiting)
    assert first.pending == ("L2 Informatique 2026",)
    assert isinstance(second, TargetProvisioned)


def test_an_activated_account_without_enrolment_in_force_waits_and_touches_no_target(plant: Plant) -> None:
    plant.account("A", stage=Stage.PRECREATED)
    plant.ring("A")
    plant.start()
    plant.until(lambda: len(plant.outcomes()) == 1)
    plant.stop()
    [outcome] = plant.outcomes()
    assert isinstance(outcome, TargetWaiting)
    assert outcome.reason == "administrative_enrolment_pending"
    assert plant.target.calls == []


def test_a_target_that_entitlements_open_later_waits_and_is_not_called(plant: Plant) -> None:
    day, other = date(2026, 9, 20), {"another": date(2026, 9, 1)}
    stages = {plant.target.name: Stage.PRECREATED}
    plant.account("A", stages=stages, opens_on={plant.target.name: day, **other})
    plant.account("B", stages={"another": Stage.PRECREATED}, opens_on=other)
    plant.ring("A")
    plant.ring("B")
    plant.start()
    plant.until(lambda: len(plant.outcomes()) == 2)
    plant.stop()
    said = {each.student_number: each for each in plant.outcomes()}
    assert isinstance(said["A"], TargetWaiting)
    assert said["A"].reason == "not_open_yet"
    assert isinstance(said["B"], TargetProvisioned)
    assert plant.target.calls == [["B"]]


def test_a_target_that_entitlements_never_give_is_done_and_not_called(plant: Plant) -> None:
    stages = {plant.target.name: Stage.PRECREATED}
    plant.account("A", stages=stages, opens_on={"another": date(2026, 9, 1)})
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    [outcome] = plant.outcomes()
    assert isinstance(outcome, TargetProvisioned)
    assert not outcome.changed
    assert plant.target.calls == []


def test_nobody_is_touched_before_activation(plant: Plant) -> None:
    plant.account("A", stage=Stage.PRECREATED, activated_at=None)
    plant.ring("A")
    plant.account("B")
    plant.ring("B")
    plant.start()
    plant.until(lambda: plant.applied("B") == 1)
    plant.stop()
    assert plant.lag() == 0
    assert [event.student_number for event in plant.outcomes()] == ["B"]


def test_an_outage_burns_nobodys_attempts_and_goes_on_when_the_target_is_back(plant: Plant) -> None:
    down = TargetDown("refused", unknown=False)
    plant.target.script = lambda _task: down
    plant.target.probe_error = down
    for number in "ABCDEFGH":
        plant.account(number)
        plant.ring(number)
    plant.start()
    plant.until(lambda: "open" in plant.observer.states)
    assert all(plant.parked(number) is None for number in "ABCDEFGH")
    plant.target.script = lambda _task: None
    plant.target.probe_error = None
    plant.until(lambda: all(plant.applied(number) == 1 for number in "ABCDEFGH"))
    plant.stop()
    assert {event.attempt for event in plant.outcomes() if isinstance(event, TargetProvisioned)} == {1}
    assert plant.lag() == 0


def test_a_target_that_goes_away_while_nobody_needs_it_is_seen(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.core.LOOK_AFTER_S", 0.05)
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.target.probe_error = TargetDown("refused", unknown=False)
    plant.until(lambda: "open" in plant.observer.states)
    plant.target.probe_error = None
    plant.account("B")
    plant.ring("B")
    plant.until(lambda: plant.applied("B") == 1)
    plant.stop()
    assert plant.target.calls == [["A"], ["B"]]


def test_a_poison_student_does_not_keep_a_healthy_target_down(plant: Plant) -> None:
    plant.target.script = lambda task: (
        TargetDown("500", unknown=False) if task.account.student_number == "C" else None
    )
    for number in "ABCDE":
        plant.account(number)
        plant.ring(number)
    plant.start()
    plant.until(lambda: all(plant.applied(number) == 1 for number in "ABDE"))
    plant.until(lambda: len(plant.letters()) == 1)
    plant.stop()
    assert [(letter.student_number, letter.cause) for letter in plant.letters()] == [("C", "fails_alone")]
    assert plant.lag() == 0


def test_a_refused_consumer_stops_at_once_and_says_so(plant: Plant) -> None:
    refused = Misconfigured("the token is refused", remedy="Make a new token.")
    plant.target.script = lambda _task: refused
    plant.target.probe_error = refused
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: "misconfigured" in plant.observer.states)
    plant.stop()
    assert len(plant.target.calls) == 1
    assert plant.parked("A") is None
    assert plant.lag() == 1  # it stays in the log


def test_a_student_whose_lease_is_held_elsewhere_is_left_alone_and_charged_nothing(plant: Plant) -> None:
    plant.account("A")
    with plant.database.write() as connection:
        until = plant.database.now(connection) + 60
        target_states.lease(
            connection, plant.database, "directory", {"A": 1}, owner="another process", until=until
        )
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.parked("A") is not None)
    plant.stop()
    row = present(plant.parked("A"))
    assert (row.kind, row.attempts) == (Kind.LEASED, 0)
    assert row.due_at is not None
    assert row.due_at > until
    assert plant.target.calls == []


def test_a_lease_that_was_never_given_back_makes_the_successor_compare_first(plant: Plant) -> None:
    plant.account("A")
    with plant.database.write() as connection:
        until = plant.database.now(connection) - 1
        target_states.lease(connection, plant.database, "directory", {"A": 1}, owner="killed", until=until)
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    assert plant.target.compared == ["A"]


def test_after_an_unknown_outcome_the_student_rests_until_the_call_can_have_no_effect(plant: Plant) -> None:
    plant.target.script = lambda _task: Retry("timed_out", "no answer", unknown=True)
    plant.account("A")
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.parked("A") is not None)
    plant.stop()
    row, state = plant.parked("A"), plant.state("A")
    assert row is not None
    assert state is not None
    assert state.suspect
    assert row.due_at is not None
    assert row.due_at > state.lease_until


class CrashingEffects(Effects):
    """Fails between two effects, as a database that goes away does."""

    crash_before: str = ""

    def publish(self, *args: object, **kwargs: object) -> None:
        self._crash("publish")
        super().publish(*args, **kwargs)  # type: ignore[arg-type]

    def record(self, *args: Any, **kwargs: Any) -> Mapping[str, HandlerOutcome]:
        self._crash("record")
        return super().record(*args, **kwargs)

    def _crash(self, step: str) -> None:
        if self.crash_before == step:
            self.crash_before = ""
            raise DependencyDown(f"away before {step}")


@pytest.mark.parametrize("step", ["publish", "record"])
def test_a_failure_between_any_two_effects_repeats_and_is_announced_under_one_id(
    plant: Plant, step: str
) -> None:
    effects = plant.effects()
    effects.__class__ = CrashingEffects
    assert isinstance(effects, CrashingEffects)
    effects.crash_before = step
    plant.account("A")
    plant.ring("A")
    plant.start(effects)
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    assert len({message.id for message in plant.read(catalogue.OUTCOMES)}) == 1
    assert plant.lag() == 0


def test_a_record_that_is_no_event_goes_to_the_dead_letters_and_the_rest_goes_on(plant: Plant) -> None:
    plant.account("A")
    plant.producer.append([NewRecord(catalogue.ACCOUNTS, "A", b"{broken", ())])
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    [letter] = plant.letters()
    assert (letter.cause, letter.topic, letter.offset) == ("not_an_event", catalogue.ACCOUNTS, 0)
    assert plant.lag() == 0


def test_a_bell_for_a_student_whom_the_registry_does_not_know_is_a_dead_letter(plant: Plant) -> None:
    plant.ring("NOBODY")
    plant.start()
    plant.until(lambda: len(plant.letters()) == 1)
    plant.stop()
    assert plant.letters()[0].cause == "unknown_student"
    assert plant.lag() == 0


def test_a_fault_in_the_handler_costs_that_student_attempts_and_nobody_else(plant: Plant) -> None:
    def script(task: Task) -> HandlerOutcome | Exception | None:
        return KeyError("oops") if task.account.student_number == "A" else None

    plant.target.batch_size = 1
    plant.target.script = script
    for number in "AB":
        plant.account(number)
    plant.ring("B")
    plant.start()
    plant.until(lambda: plant.applied("B") == 1)
    plant.ring("A")
    plant.until(lambda: plant.parked("A") is not None)
    plant.stop()
    row = present(plant.parked("A"))
    assert (row.cause, row.attempts) == ("internal_error", 1)


mailbox = live_mailbox


def test_a_follower_waits_for_its_leader_to_have_the_newest_version(mailbox: Plant) -> None:
    mailbox.account("A", 2)
    mailbox.leader_says("A", 1)
    mailbox.account("B", 1)
    mailbox.leader_says("B", 1)
    mailbox.start()
    mailbox.until(lambda: mailbox.applied("B") == 1)
    assert mailbox.target.calls == [["B"]]
    mailbox.leader_says("A", 2)
    mailbox.until(lambda: mailbox.applied("A") == 2)
    mailbox.stop()
    assert mailbox.lag() == 0


def test_a_followers_replay_goes_by_what_the_leader_has_recorded(mailbox: Plant) -> None:
    mailbox.account("A", 2)
    leader_has(mailbox, "A", 2)
    mailbox.replay("A")
    mailbox.start()
    mailbox.until(lambda: mailbox.applied("A") == 2)
    mailbox.stop()
    assert mailbox.target.calls == [["A"]]


def test_a_hold_shuts_the_mailbox_without_waiting_for_the_directory(mailbox: Plant) -> None:
    mailbox.suspend("A")
    mailbox.start()
    mailbox.until(lambda: mailbox.target.shut == ["A"])
    mailbox.stop()
    assert mailbox.applied("A") == 0
    assert mailbox.lag() == 0
