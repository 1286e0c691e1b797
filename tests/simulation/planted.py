"""Faults to plant in the shipped code, by name; the checker must find each.

A checker that finds nothing in a sound system proves nothing unless it finds these. Those of the registry are
in `planted_registry`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, delete, update

from consumers.mailbox.mailbox import Mailbox, WelcomeStanding
from consumers.mailbox.posting import Posting
from consumers.mailbox.welcome_journal import RecordedIntent
from consumers.propagation.handler import Propagation
from consumers.propagation.window import PropagationProgress, SeenOutcome, judge
from pipeline import target_states
from pipeline.engine.bell import Place
from pipeline.engine.core import Culprit
from pipeline.engine.offsets import Offsets, OffsetTracker
from pipeline.outbox import outbox
from pipeline.parking.rows import parked
from pipeline.runner import TargetWorker
from pipeline.runner.admission import Admission
from pipeline.runner.announcement import Admitted
from pipeline.runner.batch_run import BatchRun, Runner
from pipeline.runner.conclusion import Recorder, _conclusion
from pipeline.target import Dead, Done, HandlerOutcome
from schemas.account import Account
from schemas.envelope import Message
from tests.simulation.history import History, Planted, Recipe, live
from tests.simulation.planted_registry import PLANTED as PLANTED_REGISTRY
from tests.simulation.planted_registry import both
from tests.simulation.planted_targets import PLANTED as PLANTED_TARGETS

_read = Offsets.read
_start = TargetWorker._start  # noqa: SLF001
_follow_assignment = TargetWorker._follow_assignment  # noqa: SLF001
_progress = Propagation._progress  # noqa: SLF001
_complete = Propagation._complete  # noqa: SLF001
_final = Recorder.final
_time_at, _conclude = Admitted.time_at, target_states.conclude
_record, _remember = Recorder.record, Recorder._remember  # noqa: SLF001


def _commit_before_apply() -> AbstractContextManager[object]:
    """A record's offset is committed once the record was read."""

    def read(self: Offsets, place: Place) -> bool:
        new = _read(self, place)
        self.settle(place)
        return new

    def start(self: TargetWorker) -> None:
        self._commit(self._clock(), force=True)
        _start(self)

    return both(patch.object(Offsets, "read", read), patch.object(TargetWorker, "_start", start))


def _commit_past_a_gap() -> AbstractContextManager[object]:
    """The highest read offset is committed, past open ones below."""
    return patch.object(OffsetTracker, "position", property(lambda self: self._read_to))


def _forget_parked_on_rebalance() -> AbstractContextManager[object]:
    """A new owner of partitions does not take over the former one's parked retries."""

    def follow(self: TargetWorker) -> None:
        before = self._owned
        _follow_assignment(self)
        if self._owned != before:
            with self._database.write() as connection:
                mine = (parked.c.consumer == self.name, parked.c.kind == "retry")
                connection.execute(update(parked).where(*mine).values(due_at=None))

    return patch.object(TargetWorker, "_follow_assignment", follow)


def _record_before_acknowledged() -> AbstractContextManager[object]:
    """The version is recorded as applied before the log has acknowledged the outcome."""

    def conclude(self: Runner, runs: Sequence[BatchRun]) -> None:
        admitted = {number: one for run in runs for number, one in run.admitted.items()}
        outcomes = {number: outcome for run in runs for number, outcome in run.outcomes.items()}
        final = self._effects.record(admitted, outcomes)
        self._effects.publish(admitted, outcomes)
        for run in runs:
            run.final = {number: final[number] for number in run.admitted}

    return patch.object(Runner, "_conclude", conclude)


def _drop_a_replay_as_a_repeat() -> AbstractContextManager[object]:
    """A replay of a version that was applied already is taken for a redelivery."""
    return patch("pipeline.runner.admission.replays_of", lambda _turn, _lot: ())


def _ignore_a_lease() -> AbstractContextManager[object]:
    """A timed-out student is admitted again while the call may still have its effect."""
    return patch.object(Admission, "_blocked", lambda *_args, **_options: False)


def _trust_after_a_time_out() -> AbstractContextManager[object]:
    """The doubt after an unknown outcome is not recorded."""
    return patch(
        "pipeline.runner.conclusion._conclusion",
        lambda *args: replace(_conclusion(*args), suspect=False, unknown=False),
    )


def _outbox_watermark() -> AbstractContextManager[object]:
    """The outbox forgets everything up to the highest sent row."""

    def forget(connection: Any, sent: Any) -> None:
        connection.execute(delete(outbox).where(outbox.c.id <= max(row.id for row in sent)))

    return patch("pipeline.outbox._forget", forget)


def _down_by_a_poison_row() -> AbstractContextManager[object]:
    """One student's work that fails the whole call counts as the target's outage."""
    return both(
        patch.object(Culprit, "failed", lambda _self, _batch, *, first: None),  # noqa: ARG005
        patch.object(Culprit, "refused", lambda _self, _batch: False),
    )


def _lose_the_start_time() -> AbstractContextManager[object]:
    """A newer version opens a new window, at the time of its event."""

    def progress(
        self: Propagation, before: PropagationProgress | None, account: Account, message: Message
    ) -> PropagationProgress:
        return replace(_progress(self, before, account, message), opened_at=message.time.timestamp())

    return patch.object(Propagation, "_progress", progress)


def _complete_without_one() -> AbstractContextManager[object]:
    """A version is complete without one target's outcome."""

    def complete(
        self: Propagation,
        connection: Connection,
        progress: PropagationProgress,
        seen: Mapping[str, SeenOutcome],
        message: Message,
    ) -> PropagationProgress:
        some = next(iter(seen.values()))
        everywhere = {name: seen.get(name, some) for name in self._targets}
        return _complete(self, connection, progress, everywhere, message)

    def hasty(version: int, seen: Mapping[str, SeenOutcome], targets: tuple[str, ...], follows: Any) -> Any:
        return judge(version, seen, tuple(name for name in targets if name in seen) or targets, follows)

    return both(
        patch("consumers.propagation.handler.judge", hasty), patch.object(Propagation, "_complete", complete)
    )


def _bury_nothing() -> AbstractContextManager[object]:
    """Work that is given up leaves no dead letter."""
    return patch(
        "pipeline.dead_letters.events.record_work", lambda _connection, _database, letter, _number: letter.id
    )


def _resolve_nothing() -> AbstractContextManager[object]:
    """A newer success leaves the dead letters before it as they are."""
    return patch.object(Recorder, "_resolve", lambda *_args: None)


def _date_an_hour_late() -> AbstractContextManager[object]:
    """An outcome's announcement is dated an hour after it."""

    def time_at(self: Admitted, ended: float) -> datetime:
        return _time_at(self, ended) + timedelta(hours=1)

    return patch.object(Admitted, "time_at", time_at)


def _end_a_doubt_by_itself() -> AbstractContextManager[object]:
    """A lease that ends takes the doubt about an unanswered write with it."""

    def conclude(connection: Connection, database: Any, target: str, ended: Any, now: float) -> Any:
        sure = [replace(each, suspect=False, unknown=False) for each in ended]
        return _conclude(connection, database, target, sure, now)

    return patch("pipeline.runner.conclusion.target_states.conclude", conclude)


def _give_up_a_late_success() -> AbstractContextManager[object]:
    """A success at a later attempt is given up all the same."""

    def final(self: Recorder, admitted: Admitted, outcome: HandlerOutcome) -> HandlerOutcome:
        late = isinstance(outcome, Done) and admitted.attempt > 1
        return Dead("planted", "given up") if late else _final(self, admitted, outcome)

    return patch.object(Recorder, "final", final)


def _remember_late(self: Recorder, what: Sequence[Any], connection: Connection) -> None:
    _remember(self, connection, *what)


def _remember_apart() -> AbstractContextManager[object]:
    """An attempt's record is written after the transaction of its outcome."""

    def later(self: Recorder, _connection: Connection, *what: Any) -> None:
        self.__dict__.setdefault("apart", []).append(what)

    def record(self: Recorder, *what: Any) -> None:
        self.__dict__["apart"] = []
        _record(self, *what)
        for each in self.__dict__["apart"]:
            self._database.transact(partial(_remember_late, self, each))

    return both(patch.object(Recorder, "_remember", later), patch.object(Recorder, "record", record))


def _welcome_again() -> AbstractContextManager[object]:
    """The welcome message is sent again without a look into the mailbox."""

    def judge(_self: Posting, intent: RecordedIntent | None, _seen: Mailbox) -> WelcomeStanding:
        return WelcomeStanding(due=True, intent=intent)

    return patch.object(Posting, "_judge", judge)


PLANTED: dict[str, Planted] = {
    "commit before apply": _commit_before_apply,
    "commit past a gap": _commit_past_a_gap,
    "forget a parked student on rebalance": _forget_parked_on_rebalance,
    "record the version before the outcome is acknowledged": _record_before_acknowledged,
    "drop a replay as a repeat": _drop_a_replay_as_a_repeat,
    "ignore a lease after a time-out": _ignore_a_lease,
    "trust what was written after a time-out": _trust_after_a_time_out,
    "advance an outbox watermark": _outbox_watermark,
    "judge a target down by a poison row": _down_by_a_poison_row,
    "lose a start time on supersession": _lose_the_start_time,
    "complete without a target": _complete_without_one,
    "give up without a dead letter": _bury_nothing,
    "leave dead letters after a success": _resolve_nothing,
    "remember an attempt apart": _remember_apart,
    "welcome again": _welcome_again,
    "date an outcome an hour late": _date_an_hour_late,
    "give up a late success": _give_up_a_late_success,
    "end a doubt with its lease": _end_a_doubt_by_itself,
    **PLANTED_REGISTRY,
    **PLANTED_TARGETS,
}

SHOWN_BY = {
    "commit before apply": 1,
    "ignore a lease after a time-out": 42,
    "drop a replay as a repeat": 5,
    "remember an attempt apart": 8,
    "welcome again": 3,
    "give up a late success": 4,
    "lose a fact when the store fails": 6,
    "commit a fact before it is applied": 1,
    "let an older enrolment win": 1,
    "apply an act again": 6,
    "suspend nobody in Moodle": 9,
    "compare Moodle without case": 111,
    "read a mailbox back and compare nothing": 4,
    "say that a welcome was sent": 1,
    "end no session while the leader is behind": 7,
}
"""The first seed that shows each fault, if it is not 0."""

SEEDS = 24
"""Limit of seeds for one fault: another change of the code may hide it from its first seed."""


def caught(name: str, *, until: float = math.inf) -> History | None:
    """The first history that shows this fault; None: the checker does not see it.

    One that ends by an error shows nothing: the fault no longer fits the code. `until`: begin no further
    history after this monotonic time; one always is.
    """
    first = SHOWN_BY.get(name, 0)
    for seed in range(first, first + SEEDS):
        lived = live(Recipe(seed), planted=PLANTED[name])
        if lived.violations and all(each.invariant != "it runs" for each in lived.violations):
            return lived
        if time.monotonic() >= until:
            break
    return None
