"""Faults to plant in the shipped code, by name; the checker must find each.

A checker that finds nothing in a sound system proves nothing unless it finds these. Those of the registry are
in `planted_registry`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

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
from tests.simulation.faults import Faults
from tests.simulation.history import History, Recipe, live
from tests.simulation.planted_registry import PLANTED as PLANTED_REGISTRY
from tests.simulation.planted_targets import PLANTED as PLANTED_TARGETS

_read = Offsets.read
_start = TargetWorker._start  # noqa: SLF001
_follow_assignment = TargetWorker._follow_assignment  # noqa: SLF001
_progress = Propagation._progress  # noqa: SLF001
_complete = Propagation._complete  # noqa: SLF001
_final = Recorder.final
_time_at, _conclude = Admitted.time_at, target_states.conclude
_record, _remember = Recorder.record, Recorder._remember  # noqa: SLF001


PLANTED: Final = Faults()


@PLANTED.by("commit before apply", Offsets, "read")
def _settle_what_is_read(self: Offsets, place: Place) -> bool:
    new = _read(self, place)
    self.settle(place)
    return new


@PLANTED.by("commit before apply", TargetWorker, "_start")
def _commit_and_start(self: TargetWorker) -> None:
    self._commit(self._clock(), force=True)
    _start(self)


PLANTED.change("commit past a gap", OffsetTracker, "position", new=property(lambda self: self._read_to))


@PLANTED.by("forget a parked student on rebalance", TargetWorker, "_follow_assignment")
def _follow_without_retries(self: TargetWorker) -> None:
    before = self._owned
    _follow_assignment(self)
    if self._owned != before:
        with self._database.write() as connection:
            mine = (parked.c.consumer == self.name, parked.c.kind == "retry")
            connection.execute(update(parked).where(*mine).values(due_at=None))


@PLANTED.by("record the version before the outcome is acknowledged", Runner, "_conclude")
def _record_and_publish(self: Runner, runs: Sequence[BatchRun]) -> None:
    admitted = {number: one for run in runs for number, one in run.admitted.items()}
    outcomes = {number: outcome for run in runs for number, outcome in run.outcomes.items()}
    final = self._effects.record(admitted, outcomes)
    self._effects.publish(admitted, outcomes)
    for run in runs:
        run.final = {number: final[number] for number in run.admitted}


PLANTED.change(
    "drop a replay as a repeat", "pipeline.runner.admission.replays_of", new=lambda _turn, _lot: ()
)
PLANTED.change("ignore a lease after a time-out", Admission, "_blocked", new=lambda *_args, **_options: False)
PLANTED.change(
    "trust what was written after a time-out",
    "pipeline.runner.conclusion._conclusion",
    new=lambda *args: replace(_conclusion(*args), suspect=False, unknown=False),
)


@PLANTED.by("advance an outbox watermark", "pipeline.outbox._forget")
def _forget_up_to_the_last(connection: Any, sent: Any) -> None:
    connection.execute(delete(outbox).where(outbox.c.id <= max(row.id for row in sent)))


PLANTED.change(
    "judge a target down by a poison row",
    *(Culprit, "failed"),
    new=lambda _self, _batch, *, first: None,  # noqa: ARG005
)
PLANTED.change("judge a target down by a poison row", Culprit, "refused", new=lambda _self, _batch: False)


@PLANTED.by("lose a start time on supersession", Propagation, "_progress")
def _progress_since_its_event(
    self: Propagation, before: PropagationProgress | None, account: Account, message: Message
) -> PropagationProgress:
    return replace(_progress(self, before, account, message), opened_at=message.time.timestamp())


@PLANTED.by("complete without a target", "consumers.propagation.handler.judge")
def _judge_who_has_spoken(
    version: int, seen: Mapping[str, SeenOutcome], targets: tuple[str, ...], follows: Any
) -> Any:
    return judge(version, seen, tuple(name for name in targets if name in seen) or targets, follows)


@PLANTED.by("complete without a target", Propagation, "_complete")
def _complete_everywhere(
    self: Propagation,
    connection: Connection,
    progress: PropagationProgress,
    seen: Mapping[str, SeenOutcome],
    message: Message,
) -> PropagationProgress:
    some = next(iter(seen.values()))
    everywhere = {name: seen.get(name, some) for name in self._targets}
    return _complete(self, connection, progress, everywhere, message)


PLANTED.change(
    "give up without a dead letter",
    "pipeline.dead_letters.events.record_work",
    new=lambda _connection, _database, letter, _number: letter.id,
)
PLANTED.change("leave dead letters after a success", Recorder, "_resolve", new=lambda *_args: None)


@PLANTED.by("remember an attempt apart", Recorder, "_remember")
def _remember_later(self: Recorder, _connection: Connection, *what: Any) -> None:
    self.__dict__.setdefault("apart", []).append(what)


def _remember_in(self: Recorder, what: Sequence[Any], connection: Connection) -> None:
    _remember(self, connection, *what)


@PLANTED.by("remember an attempt apart", Recorder, "record")
def _record_and_remember(self: Recorder, *what: Any) -> None:
    self.__dict__["apart"] = []
    _record(self, *what)
    for each in self.__dict__["apart"]:
        self._database.transact(partial(_remember_in, self, each))


@PLANTED.by("welcome again", Posting, "_judge")
def _due_whatever_is_seen(_self: Posting, intent: RecordedIntent | None, _seen: Mailbox) -> WelcomeStanding:
    return WelcomeStanding(due=True, intent=intent)


@PLANTED.by("date an outcome an hour late", Admitted, "time_at")
def _an_hour_after(self: Admitted, ended: float) -> datetime:
    return _time_at(self, ended) + timedelta(hours=1)


@PLANTED.by("give up a late success", Recorder, "final")
def _final_at_once(self: Recorder, admitted: Admitted, outcome: HandlerOutcome) -> HandlerOutcome:
    late = isinstance(outcome, Done) and admitted.attempt > 1
    return Dead("planted", "given up") if late else _final(self, admitted, outcome)


@PLANTED.by("end a doubt with its lease", "pipeline.runner.conclusion.target_states.conclude")
def _conclude_for_sure(connection: Connection, database: Any, target: str, ended: Any, now: float) -> Any:
    sure = [replace(each, suspect=False, unknown=False) for each in ended]
    return _conclude(connection, database, target, sure, now)


PLANTED.update(PLANTED_REGISTRY | PLANTED_TARGETS)

SHOWN_BY = {
    "commit before apply": 1,
    "ignore a lease after a time-out": 42,
    "drop a replay as a repeat": 73,
    "remember an attempt apart": 8,
    "welcome again": 3,
    "give up a late success": 4,
    "lose a fact when the store fails": 6,
    "commit a fact before it is applied": 1,
    "let an older enrolment win": 1,
    "apply an act again": 6,
    "end no session of a mailbox": 15,
    "compare Moodle without case": 16,
    "say that a welcome was sent": 1,
    "end no session while the leader is behind": 12,
    "leave a held entry unlocked": 5,
    "leave held mail enabled": 5,
    "act before the leader": 2,
    "record no names of what is pending": 1,
    "never leave a cohort": 1,
    "suspend nobody in Moodle": 5,
    "announce no dead letter": 4,
}
"""The first seed that shows each fault, where that is not 0."""

SEEDS = 24
"""Lived at most for one fault: another change of the code may hide it from the seed that showed it first."""


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
