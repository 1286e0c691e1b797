"""A log, a store and one worker, as shipped, with the benchmark's target."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from pipeline.accounts import accounts
from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.engine.bell import topics_for
from pipeline.engine.core import Engine
from pipeline.engine.limits import Backoff, Limits
from pipeline.eventlog.port import EventLog, NewRecord, TopicPartition
from pipeline.runner import Effects, TargetWorker
from pipeline.runner.announcement import Admitted
from pipeline.target import Description, Done, Handler, HandlerOutcome, Preview, Task, digest_of
from schemas import catalogue
from schemas.account import Account, Lane, Person, Stage
from schemas.envelope import Message, event_id, to_record
from schemas.events import AccountChanged, Cause, ReplayRequested
from sesame.app import gc_freeze

NOW = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
PATIENCE_S = 600.0
_PAGE = 2_000
_DIGEST = digest_of({"bench": "nothing"})


class Nothing:
    """A target that does nothing, at once.

    `work`: called with the tasks of each batch, in the call's thread, before the answer.
    """

    name = "directory"
    call_s_max = 5.0

    def __init__(self, batch_size: int, work: Callable[[Sequence[Task]], None] = lambda _tasks: None) -> None:
        self.batch_size = batch_size
        self._work = work
        self._lock = threading.Lock()
        self.done = 0

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `pipeline.target.Handler`."""
        self._work(tasks)
        with self._lock:
            self.done += len(tasks)
        return {task.account.student_number: Done(_DIGEST, changed=True) for task in tasks}

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """Nothing ever differs."""
        return {account.student_number: Preview() for account in accounts}

    def probe(self) -> None:
        """See `pipeline.target.Handler`."""

    def describe(self) -> Description:
        """See `pipeline.target.Handler`."""
        return Description(self.name, "memory", ())

    def close(self) -> None:
        """See `pipeline.target.Handler`."""


class Silent:
    """An observer that keeps troubles, and counts the fully recorded turns."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.recorded = 0  # one thread of the worker writes all ends

    def batch(self, target: str, students: int, seconds: float) -> None:
        """See `pipeline.runner.Observer`."""

    def outcome(self, _target: str, _outcome: HandlerOutcome, _admitted: Admitted) -> None:
        """See `pipeline.runner.Observer`."""
        self.recorded += 1

    def state(self, consumer: str, state: str, reason: str) -> None:
        """See `pipeline.runner.Observer`."""

    def lag(self, consumer: str, lag: Mapping[TopicPartition, int]) -> None:
        """See `pipeline.runner.Observer`."""

    def trouble(self, consumer: str, what: str) -> None:
        """See `pipeline.runner.Observer`."""
        self.troubles.append(f"{consumer}: {what}")


def numbers(count: int) -> list[str]:
    """That many student numbers."""
    return [f"{22_000_000 + index}" for index in range(count)]


def account_of(number: str, lane: Lane = Lane.PERSONAL) -> Account:
    """An active account."""
    login = f"login.{number}"
    return Account(
        student_number=number,
        version=1,
        stage=Stage.ACTIVE,
        login=login,
        mail=f"{login}@etu.univ-exemple.fr",
        principal=f"{login}@univ-exemple.fr",
        person=Person(birth_name="Lefèvre", given_name="Élodie"),
        activated_at=NOW,
        opened_at=NOW,
        lane=lane,
    )


def fill(database: Database, accounts_made: Iterable[Account]) -> None:
    """Put accounts into the store, as the registry would have."""
    page: list[dict[str, object]] = []

    def flush() -> None:
        if page:
            with database.write() as connection:
                connection.execute(insert(accounts), page)
            page.clear()

    for account in accounts_made:
        page.append(
            {
                "student_number": account.student_number,
                "version": account.version,
                "stage": account.stage,
                "login": account.login,
                "activated_at": NOW.timestamp(),
                "changed_at": NOW.timestamp(),
                "document": account.model_dump_json(),
            }
        )
        if len(page) == _PAGE:
            flush()
    flush()


def bell(number: str, lane: Lane = Lane.PERSONAL, *, tell_apart: object = 1) -> NewRecord:
    """The event that announces version 1 of a student's account."""
    event = AccountChanged(
        student_number=number, version=1, stage=Stage.ACTIVE, lane=lane, cause=Cause.ACTIVATION
    )
    identity = event_id(event.type, "registry", number, str(tell_apart))
    headers, value = to_record(Message(identity, "/sesame/registry", NOW, event))
    return NewRecord(catalogue.by_lane(catalogue.ACCOUNTS, lane), number, value, headers)


def replay(number: str) -> NewRecord:
    """The event by which an operator has a student compared with the target."""
    event = ReplayRequested(student_number=number, consumer=Nothing.name, replay_id="bench-replay")
    identity = event_id(event.type, "replay", number)
    headers, value = to_record(Message(identity, "/sesame/replay", NOW, event))
    return NewRecord(catalogue.ACTIVATIONS, number, value, headers)


def ring(log: EventLog, records: Iterable[NewRecord]) -> None:
    """Put bells on the log."""
    producer, page = log.producer(), []
    for record in records:
        page.append(record)
        if len(page) == _PAGE:
            producer.append(page)
            page = []
    producer.append(page)
    producer.close()


@contextmanager
def migrated(url: str) -> Iterator[Database]:
    """The store behind a URL, in its newest form."""
    database = Database(url)
    try:
        migrate.upgrade(database)
        yield database
    finally:
        database.close()


@contextmanager
def running(
    log: EventLog,
    database: Database,
    handler: Handler,
    limits: Limits,
    *,
    group: str = "directory",
    owner: str = "bench",
    observer: Silent | None = None,
) -> Iterator[Silent]:
    """A worker, as `sesame run` starts it, for as long as the block lasts. It reports to `observer`."""
    producer, observer = log.producer(), observer or Silent()
    effects = Effects(
        target=handler.name,
        owner=owner,
        database=database,
        producer=producer,
        backoff=Backoff(),
        lease_s=60.0,
        recheck_s=900.0,
    )
    worker = TargetWorker(
        handler=handler,
        engine=Engine(limits),
        effects=effects,
        consumer=log.consumer(group, topics_for(None), member=owner),
        database=database,
        observer=observer,
    )
    stopping = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stopping,), name="bench-worker")
    gc_freeze.settle()
    thread.start()
    try:
        yield observer
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
        producer.close()


def until(
    what: Callable[[], bool],
    observer: Silent | None = None,
    *,
    every_s: float = 0.005,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until the condition holds. Raises TimeoutError, with the worker's complaints."""
    deadline = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come about; troubles: {observer.troubles if observer else []}")
        time.sleep(every_s)


def embedded(folder: Path) -> str:
    """The URL of an embedded store in this folder."""
    return f"sqlite:///{folder / 'store.db'}"
