"""A scripted target in memory, its announcements, and its observers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.engine.bell import Bell, WorkItem
from pipeline.eventlog.port import TopicPartition
from pipeline.runner.announcement import Admitted
from pipeline.target import Closed, Description, Done, HandlerOutcome, Preview, Task, digest_of
from sandbox.process import PATIENCE_S
from schemas.account import Account, Lane
from schemas.events import Event, TargetProvisioned

NOW = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)

Script = Callable[[Task], HandlerOutcome | Exception | None]


def outcome(
    target: str, number: str = "A", version: int = 1, kind: type[Event] = TargetProvisioned, **own: object
) -> Event:
    """A target's announcement; by default of a provisioned account."""
    values: dict[str, object] = {
        "student_number": number,
        "version": version,
        "target": target,
        "lane": Lane.PERSONAL,
        "lease_epoch": 1,
        "sequence": 1,
        "attempt": 1,
        "started_at": NOW,
        "finished_at": NOW,
        **(own or {"digest": "sha256:" + "0" * 64, "changed": True}),
    }
    return kind.model_validate(values)


def turn(account: Account, event_id: str = "e") -> Admitted:
    """A turn of this student, rung by an event; the lease began at 1000.5 s."""
    item = WorkItem((Bell(account.student_number, account.version, Lane.PERSONAL, event_id),))
    return Admitted(item, account, 1, None, None, 1_000.5, 1_060.0, 0.0)


class Target:
    """A target in memory. `script` may answer, or raise, instead of it; None: it does the work."""

    batch_size = 5
    call_s_max = 5.0

    def __init__(self, name: str = "directory") -> None:
        self.name = name
        self.held: dict[str, int] = {}
        self.calls: list[list[str]] = []
        self.compared: list[str] = []
        self.shut: list[str] = []
        self.script: Script = lambda _task: None
        self.probe_error: Exception | None = None
        self.closed = 0

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        self.calls.append([task.account.student_number for task in tasks])
        return {task.account.student_number: self._one(task) for task in tasks}

    def _one(self, task: Task) -> HandlerOutcome:
        answer = self.script(task)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        number, version = task.account.student_number, task.account.version
        if task.close_only:
            self.shut.append(number)
            return Closed()
        if task.compare:
            self.compared.append(number)
        changed = self.held.get(number) != version
        self.held[number] = version
        return Done(digest_of({"number": number, "version": version}), changed)

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        return {
            account.student_number: Preview(
                () if self.held.get(account.student_number) == account.version else ("version",)
            )
            for account in accounts
        }

    def probe(self) -> None:
        if self.probe_error is not None:
            raise self.probe_error

    def describe(self) -> Description:
        return Description(self.name, "memory", ())

    def close(self) -> None:
        self.closed += 1


class Gate:
    """A target's script that hangs on these students until it is released."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = numbers
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, task: Task) -> None:
        if task.account.student_number in self.numbers:
            self.reached.set()
            assert self.open.wait(PATIENCE_S)


class Silent:
    """An observer that remembers only troubles, states, and the uncommitted records."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.states: list[str] = []
        self.lags: list[int] = []

    def batch(self, target: str, students: int, seconds: float) -> None:
        pass

    def outcome(self, target: str, outcome: HandlerOutcome, admitted: Admitted) -> None:
        pass

    def state(self, consumer: str, state: str, reason: str) -> None:
        self.states.append(state)

    def lag(self, consumer: str, lag: Mapping[TopicPartition, int]) -> None:
        self.lags.append(sum(lag.values()))

    def trouble(self, consumer: str, what: str) -> None:
        self.troubles.append(what)


class Noting:
    """An observer that notes every call."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, float]] = []
        self.outcomes: list[tuple[str, HandlerOutcome, Lane]] = []
        self.states: list[tuple[str, str, str]] = []
        self.lags: list[tuple[str, Mapping[TopicPartition, int]]] = []
        self.troubles: list[tuple[str, str]] = []

    def batch(self, *told: Any) -> None:
        self.batches.append(told)

    def outcome(self, *told: Any) -> None:
        self.outcomes.append(told)

    def state(self, *told: Any) -> None:
        self.states.append(told)

    def lag(self, *told: Any) -> None:
        self.lags.append(told)

    def trouble(self, *told: Any) -> None:
        self.troubles.append(told)
