"""The engine without a store: the cost of key order and at-least-once.

The worker is the shipped one. Only what needs the store is left out: a record is decoded as JSON and offered
to the engine, and an item's outcome is one event appended to the log before its offset is committed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.plant import Silent, embedded, migrated, until
from pipeline.engine.bell import Bell, Place, WorkItem
from pipeline.engine.core import Engine
from pipeline.engine.limits import Limits
from pipeline.eventlog.port import EventLog, NewRecord, Producer, Record
from pipeline.runner import Effects, TargetWorker
from pipeline.target import Description, HandlerOutcome
from schemas.account import Lane
from sesame.app import gc_freeze

SOURCE, RESULT = "bench.lanes", "bench.lanes-results"
KEYS = 1_000


@dataclass(frozen=True)
class Message:
    """One student's item, as the handler's task."""

    item: WorkItem
    lane: Lane = Lane.PERSONAL
    decided: None = None

    @property
    def account(self) -> WorkItem:
        """The item, under the name that the worker looks for."""
        return self.item

    @property
    def task(self) -> Message:
        """The task of the handler."""
        return self


class Storeless:
    """Replaces `pipeline.runner.Effects`: the log acknowledges, nothing is stored."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._lock = threading.Lock()
        self.acknowledged = 0

    def admit(self, items: Sequence[WorkItem]) -> Mapping[str, Message]:
        """Admit every item."""
        return {item.student_number: Message(item) for item in items}

    def record_fault(self, _turn: WorkItem, error: Exception) -> None:
        """Fail: no fault is expected here."""
        raise error

    def publish(self, admitted: Mapping[str, Message], _outcomes: Mapping[str, Any]) -> None:
        """Append one result event for each handled message."""
        results = [
            NewRecord(RESULT, number, _result(number, bell.event_id))
            for number, message in admitted.items()
            for bell in message.item.bells
        ]
        self._producer.append(results)
        with self._lock:
            self.acknowledged += len(results)

    def concluding(self, *_ended: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Undo nothing."""
        return nullcontext()

    def record(self, *_ended: Mapping[str, Any]) -> Mapping[str, HandlerOutcome]:
        """Report no outcome to an observer."""
        return {}


class Pausing:
    """A handler that takes some time over each batch.

    `seconds`: how long the call for these messages takes.
    """

    name = "bench"
    call_s_max = 5.0

    def __init__(self, batch_size: int, seconds: Callable[[Sequence[Message]], float]) -> None:
        self.batch_size = batch_size
        self._seconds = seconds

    def handle(self, tasks: Sequence[Message]) -> Mapping[str, Any]:
        """See `pipeline.target.Handler`."""
        pause_s = self._seconds(tasks)
        if pause_s:
            time.sleep(pause_s)
        return {task.item.student_number: None for task in tasks}

    def probe(self) -> None:
        """See `pipeline.target.Handler`."""

    def describe(self) -> Description:
        """See `pipeline.target.Handler`."""
        return Description(self.name, "memory", ())

    def close(self) -> None:
        """See `pipeline.target.Handler`."""


class LaneWorker(TargetWorker):
    """The shipped worker, reading plain JSON.

    Attributes:
        begun, cpu: the clocks at the first message, after joining the group.
    """

    begun = cpu = 0.0

    def _admit(self, record: Record) -> None:
        if not self.begun:
            self.begun, self.cpu = time.perf_counter(), time.process_time()
        message = json.loads(record.value)
        generation = self._engine.generation(record.topic, record.partition)
        place = Place(record.topic, record.partition, record.offset, generation)
        bell = Bell(record.key, 1, Lane.PERSONAL, message["id"], False, place)
        self._engine.offer(bell, self._clock())


def _result(number: str, caused_by: str) -> bytes:
    return json.dumps({"student_number": number, "caused_by": caused_by, "state": "done"}).encode()


def message_of(index: int, keys: int = KEYS) -> NewRecord:
    """The message of this index: its key comes again after `keys` others."""
    number = str(22_000_000 + index % keys)
    value = {"id": f"{index:040}", "student_number": number, "version": index, "stage": "active"}
    return NewRecord(SOURCE, number, json.dumps(value).encode())


def fill(log: EventLog, messages: int, *, partitions: int, page: int = 2_000) -> None:
    """Make the topics, and put that many messages on the first."""
    log.ensure_topics({SOURCE: partitions, RESULT: partitions})
    producer = log.producer()
    for first in range(0, messages, page):
        producer.append([message_of(index) for index in range(first, min(first + page, messages))])
    producer.close()


@dataclass(frozen=True)
class Drained:
    """The cost of handling every message.

    Attributes:
        seconds: wall-clock.
        cpu_us: of this process's processor time, for each message.
    """

    seconds: float
    cpu_us: float


def drain(
    log: EventLog,
    folder: Path,
    messages: int,
    limits: Limits,
    *,
    group: str = "lanes",
    seconds: Callable[[Sequence[Message]], float] = lambda _tasks: 0.0,
) -> Drained:
    """Handle `messages` messages that are on the log, from a new consumer group.

    Raises RuntimeError: the group has read the log before, or the run was disturbed.
    """
    handler = Pausing(limits.batch_size, seconds)
    _refuse_used(log, group)
    with _running(log, folder, handler, limits, group) as (observer, storeless, worker):
        until(
            lambda: storeless.acknowledged >= messages or bool(observer.troubles),
            observer,
            every_s=0.002,
            patience_s=120.0,
        )
        elapsed_s, cpu_s = time.perf_counter() - worker.begun, time.process_time() - worker.cpu
    if observer.troubles:
        raise RuntimeError(f"the run was disturbed: {observer.troubles[:3]}")
    return Drained(elapsed_s, cpu_s / messages * 1e6)


def _refuse_used(log: EventLog, group: str) -> None:
    with closing(log.consumer(group, [SOURCE], member="bench")) as consumer:
        if any(consumer.committed(tp) is not None for tp in log.end_offsets(SOURCE)):
            raise RuntimeError(f"group {group!r} has read this log before: each run needs one of its own")


@contextmanager
def _running(
    log: EventLog, folder: Path, handler: Pausing, limits: Limits, group: str
) -> Iterator[tuple[Silent, Storeless, LaneWorker]]:
    producer, observer, stopping = log.producer(), Silent(), threading.Event()
    storeless = Storeless(producer)
    with migrated(embedded(folder)) as database:  # no student is ever parked in it
        worker = LaneWorker(
            handler=cast("Any", handler),
            engine=Engine(limits),
            effects=cast("Effects", storeless),
            consumer=log.consumer(group, [SOURCE], member="bench"),
            database=database,
            observer=observer,
        )
        thread = threading.Thread(target=worker.run, args=(stopping,), name="bench-lanes")
        gc_freeze.settle()
        thread.start()
        try:
            yield observer, storeless, worker
        finally:
            stopping.set()
            thread.join()
            producer.close()
