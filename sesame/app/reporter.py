"""Reports of the loops: metrics, log lines, and rows for other processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from consumers.propagation.handler import Said
from consumers.registry.lifecycle import closings
from pipeline import parking, quarantine, status, target_states, throughput
from pipeline.audit import trail
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.engine.circuit import CircuitState
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import TopicPartition
from pipeline.outbox import OutboxRelay
from pipeline.runner.announcement import Admitted
from pipeline.status import ConsumerStatus
from pipeline.target import Closed, Dead, Done, HandlerOutcome, Retry, Waiting
from pipeline.throughput import Stretch, queue_min
from producers.registrar import polls
from schemas import catalogue
from schemas.account import CANARY, Lane
from schemas.events import PropagationCompleted
from sesame.app.audit_export import behind
from sesame.app.observability import figures
from sesame.app.observability.figures import LastImport
from sesame.app.observability.metrics import EDGES, Metrics
from sesame.operations.people.diagnosis import observed
from sesame.operations.people.diagnosis.reasons import for_operator
from sesame.operations.questions.reconcile import passes
from sesame.operations.work.canary import runs

REPORT_EVERY_S = 5.0
RATE_OVER_S = 4.0
"""The shortest time, in seconds, that a rate is measured over."""
FORGET_AFTER_S = 86_400.0
_GIVEN_UP_S: Final = 7 * 86_400.0
"""A live feed that was not read for a week is none any more: its alert has told for as long."""
_OUTCOMES: dict[type, str] = {
    Done: "done",
    Waiting: "waiting",
    Retry: "retry",
    Dead: "dead",
    Closed: "closed",
}
_CIRCUIT = {
    CircuitState.CLOSED: 0.0,
    "running": 0.0,
    "paused": 0.0,
    CircuitState.HALF_OPEN: 1.0,
    "retrying": 1.0,
}
_IMPORT_RESULTS = {
    "read": "lines",
    "rejected": "rejected",
    "recorded": "recorded",
    "cancelled": "cancelled",
    "unchanged": "unchanged",
}
"""Names in the metric of what an import counts."""


@dataclass
class _Said:
    state: str
    reason: str
    since: float
    at: float
    per_s: float = 0.0


@dataclass
class _Work:
    """A worker's turns and calls since `began_at`, until they are told as a stretch.

    Attributes:
        waited: records that waited at its beginning.
        state, seen_at: the last one that was reported, and when.
        is_halted: it was halted, or stopped.
    """

    began_at: float
    seen_at: float
    waited: int = 0
    state: str = "running"
    is_halted: bool = False
    turns: int = 0
    calls: int = 0
    called: int = 0
    call_s: float = 0.0
    down_s: float = 0.0
    throttled_s: float = 0.0

    def see(self, state: str, now: float) -> None:
        """Count the time since the last report by the state that it told."""
        passed_s = now - self.seen_at
        if self.state in status.DOWN:
            self.down_s += passed_s
        elif self.state == CircuitState.THROTTLED:
            self.throttled_s += passed_s
        self.is_halted |= self.state in status.HALTED or self.state == "stopped"
        self.state, self.seen_at = state, now


class Gauges:
    """Merges the gauges of a consumer's workers: the sum of backlogs, the worst state."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._states: dict[str, dict[str, str]] = {}
        self._lags: dict[str, dict[str, dict[str, int]]] = {}

    def state(self, consumer: str, process: str, state: str) -> None:
        """Set a worker's state."""
        with self._lock:
            states = self._states.setdefault(consumer, {})
            states[process] = state
            up = all(each != "stopped" for each in states.values())
            circuit = max(_CIRCUIT.get(each, 2.0) for each in states.values())
        self._metrics.consumer_up.labels(consumer).set(float(up))
        self._metrics.circuit_state.labels(consumer).set(circuit)

    def lag(self, consumer: str, process: str, by_topic: Mapping[str, int]) -> None:
        """Set a worker's backlog, by topic."""
        with self._lock:
            lags = self._lags.setdefault(consumer, {})
            before, lags[process] = lags.get(process, {}), dict(by_topic)
            sums = {
                topic: sum(each.get(topic, 0) for each in lags.values()) for topic in {*before, *by_topic}
            }
        for topic, records in sums.items():
            self._metrics.lag_records.labels(consumer, topic).set(records)


class Reporter:
    """Observes loops; see `pipeline.runner.Observer`, `pipeline.facts.FactObserver`."""

    def __init__(
        self,
        metrics: Metrics,
        database: Database,
        *,
        process: str,
        clock: Callable[[], float] = time.time,
        gauges: Gauges | None = None,
    ) -> None:
        self._gauges = gauges or Gauges(metrics)
        self._metrics = metrics
        self._database = database
        self._process = process
        self._clock = clock
        self._said: dict[str, _Said] = {}
        self._lags: dict[str, dict[Lane, int]] = {}
        self._work: dict[str, _Work] = {}
        self._counting = threading.Lock()
        self._met: set[str] = set()  # consumers that have called their target, or would have
        self._log = structlog.get_logger()

    def of_worker(self, worker: int) -> Reporter:
        """The reporter of one of several workers: its own rows, and gauges shared by all."""
        if worker == 1:
            return self
        process = f"{self._process}#{worker}"
        return Reporter(
            self._metrics, self._database, process=process, clock=self._clock, gauges=self._gauges
        )

    # --- the loops' observers ---------------------------------------------------------------------

    def batch(self, target: str, students: int, seconds: float) -> None:
        """Record a finished call to a target."""
        with self._counting:
            if (work := self._work.get(target)) is not None:
                work.calls += 1
                work.called += students
                work.call_s += seconds
        self._metrics.call_seconds.labels(target).observe(seconds)
        self._metrics.batch_students.labels(target).observe(students)

    def outcome(self, target: str, outcome: HandlerOutcome, admitted: Admitted) -> None:
        """Record the end of a student's turn."""
        kind = _OUTCOMES[type(outcome)]
        with self._counting:
            if (work := self._work.get(target)) is not None:
                work.turns += 1
        self._metrics.last_progress.labels(target).set(self._clock())
        counted = admitted.account.student_number != CANARY
        if counted:
            self._metrics.attempts.labels(target, kind).inc()
            self._metrics.outcomes.labels(target, kind, admitted.lane).inc()
        if isinstance(outcome, Done) and counted:
            self._metrics.changes.labels(target, "written" if outcome.changed else "unchanged").inc()
        elif isinstance(outcome, Retry | Dead):
            self._log.warning("turn_failed", target=target, outcome=kind, cause=outcome.cause)

    def state(self, consumer: str, state: str, reason: str) -> None:
        """Set a consumer's state; written for other processes on change, and periodically."""
        now, said = self._clock(), self._said.get(consumer)
        with self._counting:
            work = self._work.setdefault(consumer, _Work(now, now))
            work.see(state, now)
        changed = said is None or (said.state, said.reason) != (state, reason)
        if not changed and said is not None and now - said.at < REPORT_EVERY_S:
            return
        since = said.since if said is not None and said.state == state else now
        per_s, stretch = said.per_s if said is not None else 0.0, None
        lags = self._lags.get(consumer, {})
        personal, bulk = lags.get(Lane.PERSONAL, 0), lags.get(Lane.BULK, 0)
        if now - work.began_at >= RATE_OVER_S:
            per_s, stretch = self._measure(consumer, work, personal + bulk, now)
        self._said[consumer] = _Said(state, reason, since, now, per_s)
        self._gauges.state(consumer, self._process, state)
        if said is not None and changed:
            self._log.info("consumer_state", consumer=consumer, state=state, reason=reason)
        try:
            with self._database.write() as connection:
                at = self._database.now(connection)  # the shared clock by which silence is measured
                began = at - (now - since)
                row = ConsumerStatus(consumer, self._process, state, reason, began, at, personal, bulk, per_s)
                status.report(connection, self._database, row)
                status.forget_others(connection, consumer, seen_before=at - FORGET_AFTER_S)
                if stretch is not None and stretch.is_busy and consumer in self._met:
                    throughput.record(connection, self._database, stretch._replace(until=at))
        except DependencyDown:
            self._log.warning("status_not_written", consumer=consumer)

    def _measure(self, consumer: str, work: _Work, waiting: int, now: float) -> tuple[float, Stretch | None]:
        """End a stretch; return its rate, and itself if it tells the target's speed."""
        with self._counting:
            self._work[consumer] = _Work(now, now, waiting, work.state)
        seconds = now - work.began_at
        stretch = Stretch(
            consumer,
            self._process,
            until=0.0,  # by the database's clock, when it is written
            seconds=seconds,
            queued=min(work.waited, waiting) >= max(queue_min(work.called, work.calls), work.turns),
            students=work.turns,
            calls=work.calls,
            called=work.called,
            call_s=work.call_s,
            down_s=work.down_s,
            throttled_s=work.throttled_s,
        )
        if stretch.is_met:
            self._met.add(consumer)
        return round(work.turns / seconds, 1), None if work.is_halted else stretch

    def gone(self, consumer: str | None = None) -> None:
        """Remove the states of a process that ended normally, or of one ended loop."""
        for name in [name for name in self._said if consumer in (None, name)]:
            del self._said[name]
        try:
            with self._database.write() as connection:
                status.forget(connection, self._process, consumer)
        except DependencyDown:
            self._log.warning("status_not_written", consumer=consumer or "")

    def see_off(self, host: str, is_dead: Callable[[int], bool]) -> None:
        """Remove the states of processes that died here: the restart has seen it.

        One that is taken for dead (`is_dead`, by its number) and is not reports again within seconds.
        """
        try:
            with self._database.write() as connection:
                for each in status.statuses(connection):
                    if each.process.partition("#")[0] == self._process:
                        continue
                    name, _, number = each.place.partition("#")[0].rpartition(":")
                    if name == host and number.isdecimal() and is_dead(int(number)):
                        status.forget(connection, each.process, each.consumer)
        except DependencyDown:
            self._log.warning("status_not_written", consumer="")

    def lag(self, consumer: str, lag: Mapping[TopicPartition, int]) -> None:
        """Set the unsettled records by partition. Other processes read them with the state."""
        by_topic: dict[str, int] = {}
        by_lane: dict[Lane, int] = {}
        for tp, records in lag.items():
            lane = catalogue.lane_of(tp.topic)
            by_topic[tp.topic] = by_topic.get(tp.topic, 0) + records
            by_lane[lane] = by_lane.get(lane, 0) + records
        self._lags[consumer] = by_lane
        self._gauges.lag(consumer, self._process, by_topic)

    def trouble(self, consumer: str, what: str) -> None:
        """Log a problem that will be tried again, or went to the dead letters."""
        self._log.warning("trouble", consumer=consumer, error_message=what)

    # --- propagation and backlogs -----------------------------------------------------------------

    def said(self, event: Said) -> None:
        """Record that an account is everywhere, or that an edge of its window has passed."""
        if isinstance(event, PropagationCompleted):
            self._completed(event)
        else:
            self._metrics.propagation_late.labels(EDGES[type(event)]).inc()

    def _completed(self, event: PropagationCompleted) -> None:
        self._metrics.propagation_in_window.labels(event.window).inc()
        self._metrics.propagation_seconds.labels("all", event.lane).observe(event.elapsed_s)
        for target, seconds in event.targets_s.items():
            self._metrics.propagation_seconds.labels(target, event.lane).observe(seconds)

    def refresh_from(
        self,
        outbox: OutboxRelay,
        consumers: Collection[str] = (),
        receivers: Collection[str] = (),
        *,
        canary: bool = False,
    ) -> Callable[[], None]:
        """Return the refresher of gauges read from the store at each exposition.

        Args:
            outbox: its rows are counted.
            consumers: those that should run somewhere.
            receivers: those of the audit.
            canary: whether it goes by itself.
        """

        def refresh() -> None:
            with self._database.read() as connection:
                parked = parking.counts(connection)
                retries = parking.retries(connection)
                now = self._database.now(connection)
                letters = dead_letters.counts(connection)
                waiting = target_states.waiting_counts(connection)
                unwritten = observed.differences(connection)
                stopped = {(one.consumer,): 1 for one in quarantine.every(connection)}
                propagations = figures.propagation_counts(connection)
                oldest = figures.oldest_in_progress(connection, now)
                imports = figures.last_imports(connection)
                live = polls.all_polls(connection)
                processes = status.statuses(connection)
                compared = passes.latest(connection)
                held = closings.counts(connection)
                last_run = runs.newest(connection) if canary else None
                audit_head = trail.mark(connection, trail.HEAD)
                unsent = {name: behind(connection, name, now) for name in receivers}
            for gauge, counts in (
                (self._metrics.parked, parked),
                (self._metrics.retrying, {(one.consumer, one.cause): one.students for one in retries}),
                (
                    self._metrics.retrying_oldest_seconds,
                    {(one.consumer, one.cause): max(0.0, now - one.oldest_at) for one in retries},
                ),
                (self._metrics.dead_letters, letters),
                (self._metrics.waiting, waiting),
                (self._metrics.operator_needed, for_operator(waiting, letters)),
                (self._metrics.observed_differences, unwritten),
                (self._metrics.quarantined, stopped),
                (self._metrics.closings_held, {(closing,): count for closing, count in held.items()}),
                (self._metrics.propagations, propagations),
                (
                    self._metrics.reconcile_differences,
                    {(one.target, kind): count for one in compared for kind, count in one.found.items()},
                ),
                (
                    self._metrics.reconcile_finished,
                    {(one.target,): one.ended_at.timestamp() for one in compared},
                ),
            ):
                gauge.clear()
                for labels, count in counts.items():
                    gauge.labels(*labels).set(count)
            for lane in Lane:
                self._metrics.propagation_oldest_seconds.labels(lane).set(oldest.get(lane, 0.0))
            self._imports(imports)
            if last_run is not None:
                self._canary(last_run)
            self._metrics.import_polled.clear()
            for feed in live:
                if feed.finished_at is None or now - feed.finished_at < _GIVEN_UP_S:
                    self._metrics.import_polled.labels(feed.feed).set(feed.finished_at or 0.0)
            self._processes(processes, consumers, now)
            self._metrics.outbox_rows.set(outbox.waiting())
            self._metrics.audit_entries.set(audit_head.entry_id)
            for name, late in unsent.items():
                self._metrics.audit_unsent.labels(name).set(late.entries)
                self._metrics.audit_unsent_oldest_seconds.labels(name).set(late.oldest_s)

        return refresh

    def _processes(self, processes: Sequence[ConsumerStatus], consumers: Collection[str], now: float) -> None:
        for gauge in (self._metrics.consumer_silent, self._metrics.consumer_state):
            gauge.clear()
        alive = dict.fromkeys(consumers, 0)
        for each in processes:
            self._metrics.consumer_silent.labels(each.consumer, each.place).set(each.silent_s(now))
            self._metrics.consumer_state.labels(each.consumer, each.place, each.state).set(1)
            if each.consumer in alive and each.state != "stopped" and not each.is_silent(now):
                alive[each.consumer] += 1
        for consumer, count in alive.items():
            self._metrics.consumer_processes.labels(consumer).set(count)

    def _canary(self, run: runs.CanaryRun) -> None:
        self._metrics.canary_finished.set(run.at.timestamp())
        for gauge in (self._metrics.canary_ok, self._metrics.canary_seconds):
            gauge.clear()
        for step in run.steps:
            self._metrics.canary_ok.labels(step.name).set(step.ok)
            self._metrics.canary_seconds.labels(step.name).set(step.seconds)

    def _imports(self, imports: Sequence[LastImport]) -> None:
        self._metrics.import_lines.clear()
        for each in imports:
            self._metrics.import_held.labels(each.feed).set(each.held)
            if not each.held:
                self._metrics.import_finished.labels(each.feed).set(each.finished_at)
            for result, count in _IMPORT_RESULTS.items():
                self._metrics.import_lines.labels(each.feed, result).set(each.counts.get(count, 0))
