"""Every metric, defined once. Names begin with `sesame_`, units are base units, counters end in `_total`.

A label never identifies a student: the labels are on a list, and each has few values.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from schemas.events import Event, PropagationBreached, PropagationLate, Window

PREFIX: Final = "sesame_"
EDGES: Final[dict[type[Event], str]] = {PropagationLate: "15_min", PropagationBreached: "60_min"}
"""The edges of a person's window, as the metrics name them."""
LABELS: Final[dict[str, str]] = {
    "target": "`directory`, `mailbox`, `moodle`, `timetable`; `all` for the whole account",
    "consumer": "`registry`, `propagation`, or a target",
    "lane": "`personal` or `bulk`",
    "window": "`within_15_min`, `within_60_min`, `beyond` or `bulk`",
    "edge": "`15_min` or `60_min`",
    "start": "`activation`, or `enrolment`: the registrar's facts about an active student",
    "span": "`hour`, `day` or `year`",
    "cohort": "the key of a cohort; `all` for everybody",
    "quantile": "`0.5`, `0.95` or `0.99`",
    "state": "a fixed word, listed in the metric's text",
    "step": "`enrolment`, `activation`, a target, `login`, `welcome`, `cohort` or `reset`",
    "feed": "the registrar's feed, as the import was told or as its profile is named",
    "outcome": "`done`, `waiting`, `retry`, `dead` or `closed`",
    "result": "a fixed word, listed in the metric's text",
    "reason": "the token of a business precondition, e.g. `pedagogical_enrolment_pending`",
    "cause": "the token of a failure, e.g. `identity_collision`",
    "kind": "a fixed word, listed in the metric's text",
    "field": "what would be written: an attribute, `object`, `cohorts`, `folders` …",
    "topic": "a topic of the log",
    "process": "a process: the name of its machine, and its number there",
}
"""Every label that a metric may have, and its values. None may identify a person."""

PASSWORD_RESULTS: Final = ("activated", "changed", "again", "refused", "void")
MESSAGE_RESULTS: Final = ("sent", "postponed", "refused")
REFUSAL_KINDS: Final = ("code", "slow", "form")

_PROPAGATION_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)
"""900 and 3600 are the objectives: the share inside each is read off exactly."""
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Definition:
    """A metric's documentation."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


class Metrics:
    """The metrics of one process, in a registry made for them.

    Gauges that are read from the store or the log are refreshed at each exposition: see `refresh_with`.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.definitions: list[Definition] = []
        self._refreshers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._define_promises()
        self._define_imports()
        self._define_work()
        self._define_backlogs()
        self._define_pages()
        self._define_process()

    def _define_promises(self) -> None:
        self.propagation_seconds = self._histogram(
            "propagation_seconds",
            "Time from an act to the read-back of its result, without what was waited for a precondition.",
            ("target", "lane"),
            _PROPAGATION_BUCKETS,
        )
        self.propagation_in_window = self._counter(
            "propagation_in_window_total",
            "Completed propagations, by the window that they ended in.",
            ("window",),
        )
        for window in Window:  # a series that begins at 0 has a rate from its first event on
            self.propagation_in_window.labels(window)
        self.propagation_late = self._counter(
            "propagation_late_total",
            "Persons' propagations that were still in progress at an edge of the window, each counted once.",
            ("edge",),
        )
        for edge in EDGES.values():
            self.propagation_late.labels(edge)
        self.propagations = self._gauge(
            "propagations",
            "Students by the state of their newest account's propagation: `in_progress`, `waiting`,"
            " `completed` or `failed`.",
            ("state", "lane"),
        )
        self.propagation_oldest_seconds = self._gauge(
            "propagation_oldest_seconds",
            "Age of the oldest propagation in progress, without what it waited for a precondition; 0: none.",
            ("lane",),
        )

        self.canary_ok = self._gauge(
            "canary_ok", "1 if the step came to its end in the canary's newest run, else 0.", ("step",)
        )
        self.canary_seconds = self._gauge(
            "canary_seconds",
            "Duration of the step in the canary's newest run; of a target, since the activation.",
            ("step",),
        )
        self.canary_finished = self._gauge(
            "canary_finished_timestamp_seconds", "When the canary's newest run ended (Unix time).", ()
        )
        self.window_seconds = self._gauge(
            "window_seconds",
            "Time from what opened the window to completion, of those completed within the span; to 2.5 %.",
            ("start", "span", "target", "cohort", "quantile"),
        )
        self.window_students = self._gauge(
            "window_students",
            "Completions that these quantiles are of. Cohorts of fewer than ten are left out.",
            ("start", "span", "target", "cohort"),
        )

    def _define_imports(self) -> None:
        self.import_finished = self._gauge(
            "import_finished_timestamp_seconds",
            "When the feed's last import ended that was not held for approval (Unix time).",
            ("feed",),
        )
        self.import_polled = self._gauge(
            "import_polled_timestamp_seconds",
            "When a live feed was last read to its end (Unix time).",
            ("feed",),
        )
        self.import_lines = self._gauge(
            "import_lines",
            "Lines of the feed's last import; result: `read`, `rejected`,"
            " `recorded`, `cancelled` or `unchanged`.",
            ("feed", "result"),
        )
        self.import_held = self._gauge(
            "import_held",
            "1 while the feed's last import is held for an operator's approval, else 0.",
            ("feed",),
        )

    def _define_work(self) -> None:
        self.attempts = self._counter(
            "attempts_total",
            "Students' turns at a target; result: `done`, `waiting`, `retry`, `dead`, `closed`.",
            ("consumer", "result"),
        )
        self.outcomes = self._counter(
            "outcomes_total", "How students' turns ended, by lane.", ("target", "outcome", "lane")
        )
        self.changes = self._counter(
            "target_changes_total",
            "Turns that left the target at the account's state; result: `written` or `unchanged`.",
            ("target", "result"),
        )
        self.call_seconds = self._histogram(
            "target_call_seconds",
            "Duration of one batch at a target, its read-back and retries included.",
            ("target",),
            _CALL_BUCKETS,
        )
        self.batch_students = self._histogram(
            "target_batch_students", "Students in one batch.", ("target",), _BATCH_BUCKETS
        )

    def _define_backlogs(self) -> None:
        self.lag_records = self._gauge(
            "lag_records", "Records above the committed offsets: not settled yet.", ("consumer", "topic")
        )
        self.parked = self._gauge(
            "parked", "Parked students; kind: `retry`, `waiting` or `leased`.", ("consumer", "kind")
        )
        self.retrying = self._gauge(
            "retrying", "Students who are tried again after a failure.", ("consumer", "cause")
        )
        self.retrying_oldest_seconds = self._gauge(
            "retrying_oldest_seconds",
            "For how long the student has been tried again who failed first.",
            ("consumer", "cause"),
        )
        self.waiting = self._gauge(
            "waiting", "Students who wait for a business precondition.", ("target", "reason")
        )
        self.operator_needed = self._gauge(
            "operator_needed",
            "Students who wait for something that an operator must mend, and dead letters of such a cause.",
            ("consumer", "reason"),
        )
        self.observed_differences = self._gauge(
            "observed_differences",
            "Students of a target that is only observed, by what would be written.",
            ("target", "field"),
        )
        self.closings_held = self._gauge(
            "closings_held",
            "Students whom the guard keeps from being shut or erased by time; kind: `expire`, `shut` (at one "
            "target) or `erase`.",
            ("kind",),
        )
        self.reconcile_differences = self._gauge(
            "reconcile_differences",
            "What the target's last comparison with the accounts found; kind: `missing`, `different`, "
            "`moved`, `password_replaced`, `extra`, `orphaned`, `renamed`, or `went_back` (1: an older "
            "state, or unusually much lost).",
            ("target", "kind"),
        )
        self.reconcile_finished = self._gauge(
            "reconcile_finished_timestamp_seconds",
            "When the target was last compared with the accounts (Unix time).",
            ("target",),
        )
        self.dead_letters = self._gauge("dead_letters", "Unresolved dead letters.", ("consumer", "cause"))
        self.audit_entries = self._gauge(
            "audit_entries", "Entries that the audit has ever had: it only grows.", ()
        )
        self.audit_unsent = self._gauge(
            "audit_unsent",
            "Entries of the audit that a receiver has not; kind: `syslog` or `file`.",
            ("kind",),
        )
        self.audit_unsent_oldest_seconds = self._gauge(
            "audit_unsent_oldest_seconds",
            "Age of the oldest entry of the audit that a receiver has not got; 0: none. Kinds as above.",
            ("kind",),
        )
        self.outbox_rows = self._gauge("outbox_rows", "Rows of the outbox that are not on the log yet.", ())

    def _define_pages(self) -> None:
        self.portal_passwords = self._counter(
            "portal_passwords_total",
            "Passwords that students sent to the pages; result: `activated`, `changed`, `again` (the second"
            " click of one choice), `refused` (the form has a fault) or `void` (the proof does not stand any"
            " more).",
            ("result",),
        )
        self.portal_messages = self._counter(
            "portal_messages_total",
            "Messages to students' addresses; result: `sent`, `postponed` (the mail server is tried again) or"
            " `refused` (for good).",
            ("result",),
        )
        self.portal_refusals = self._counter(
            "portal_refusals_total",
            "What the pages refused; kind: `code` (wrong, or of no use any more), `slow` (too many forms) or"
            " `form` (not made by our page for this browser, or not readable).",
            ("kind",),
        )
        for result in PASSWORD_RESULTS:
            self.portal_passwords.labels(result)
        for result in MESSAGE_RESULTS:
            self.portal_messages.labels(result)
        for kind in REFUSAL_KINDS:
            self.portal_refusals.labels(kind)

    def _define_process(self) -> None:
        self.consumer_up = self._gauge(
            "consumer_up", "1 while the consumer's loop runs in this process, else 0.", ("consumer",)
        )
        self.consumer_processes = self._gauge(
            "consumer_processes",
            "Loops of the consumer that are at work, in all processes, by their signs of life in the store.",
            ("consumer",),
        )
        self.consumer_silent = self._gauge(
            "consumer_silent_seconds",
            "Time since the last sign of life of the consumer's loop in a process.",
            ("consumer", "process"),
        )
        self.consumer_state = self._gauge(
            "consumer_state",
            "1 for the state that the consumer's loop in a process said last: `running`, `down`, `throttled`,"
            " `misconfigured`, `half_open`, `hanging`, `quarantined`, `paused`, `records lost` or `stopped`.",
            ("consumer", "process", "state"),
        )
        self.circuit_state = self._gauge(
            "circuit_state",
            "0: closed; 1: half open; 2: open, i.e. the target is down, throttles or refuses the consumer, "
            "or the consumer is in quarantine.",
            ("consumer",),
        )
        self.quarantined = self._gauge(
            "quarantined",
            "1 while the consumer is in quarantine: too much of its work was given up for good.",
            ("consumer",),
        )
        self.last_progress = self._gauge(
            "last_progress_timestamp_seconds", "When a student's turn last ended (Unix time).", ("consumer",)
        )
        self.log_fields_dropped = self._counter(
            "log_fields_dropped_total", "Fields of log lines that were not on the list of allowed ones.", ()
        )
        self.scrape_errors = self._counter(
            "scrape_errors_total", "Times that gauges could not be read when somebody looked.", ()
        )
        self.scrape_failing = self._gauge(
            "scrape_failing", "1 if gauges could not be read when somebody looked last, else 0.", ()
        )

    def refresh_with(self, refresher: Callable[[], None]) -> None:
        """Call `refresher` before each exposition: it sets gauges from store or log. It must be quick."""
        self._refreshers.append(refresher)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format. A refresher that fails is counted; its gauges stay."""
        with self._lock:  # gauges are emptied and filled: no exposition in between
            self.scrape_failing.set(0)
            for refresher in self._refreshers:
                try:
                    refresher()
                except Exception:  # noqa: BLE001 (a fault here must not hide the other metrics)
                    self.scrape_errors.inc()
                    self.scrape_failing.set(1)
                    structlog.get_logger().warning("metrics_not_refreshed", exc_info=True)
            return generate_latest(self.registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(self._defined(name, "counter", text, labels), text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(self._defined(name, "gauge", text, labels), text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: Sequence[float]
    ) -> Histogram:
        full = self._defined(name, "histogram", text, labels)
        return Histogram(full, text, labels, registry=self.registry, buckets=buckets)

    def _defined(self, name: str, kind: str, text: str, labels: tuple[str, ...]) -> str:
        unlisted = set(labels) - set(LABELS)
        if unlisted:
            raise ValueError(f"labels that are not on the list: {sorted(unlisted)}")
        self.definitions.append(Definition(PREFIX + name, kind, text, labels))
        return PREFIX + name
