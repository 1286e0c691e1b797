"""`sesame run` in a thread, with one target in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from consumers.propagation.rows import propagation
from pipeline import status
from pipeline.dead_letters import rows as dead_letters
from pipeline.eventlog.port import NewRecord
from pipeline.facts import FactHandler, FactLoop, FactObserver
from pipeline.runner import Observer, TargetWorker
from pipeline.target import Handler
from pipeline.vault import new_key
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.envelope import Message, event_id, to_record
from schemas.events import Event
from sesame.app.observability.metrics import Metrics
from sesame.app.process_runner import ProcessRunner
from sesame.app.wiring import Application
from sesame.settings import load
from sesame.testing.servers.registry_kit import LEA, activation, enrolled
from sesame.testing.servers.target_kit import Target
from sesame.testing.servers.waiting import until


class Site(Application):
    """The application with one target in memory, whose loops fail on request."""

    def __init__(self, folder: Path, more: str = "") -> None:
        (folder / "vault.key").write_text(new_key())
        (folder / "vault.key").chmod(0o600)
        path = folder / "sesame.toml"
        path.write_text(
            f'data_dir = "{folder}"\ntargets = ["moodle"]\nhttp.port = 0\nengine.shutdown_s_max = 1\n' + more,
            encoding="utf-8",
        )
        super().__init__(load(path))
        self.handlers: list[Target] = []
        self.owners: list[str] = []
        self.fails: dict[str, list[Exception]] = {}
        self.instead: dict[str, Callable[[threading.Event], None]] = {}

    def handler(self, target: str) -> Handler:
        self.handlers.append(Target(target))
        return self.handlers[-1]

    def fact_loop(self, handler: FactHandler, observer: FactObserver, worker: int = 1) -> FactLoop:
        self._fail(handler.name)
        return super().fact_loop(handler, observer, worker)

    def worker(self, target: str, observer: Observer, number: int = 1) -> TargetWorker:
        self._fail(target)
        worker = super().worker(target, observer, number)
        self.owners.append(worker._effects._admission._owner)  # noqa: SLF001
        instead = self.instead.pop(target, None)
        if instead is not None:
            run = worker.run

            def end_by_itself(stopping: threading.Event) -> None:
                instead(stopping)
                over = threading.Event()
                over.set()
                run(over)

            worker.run = end_by_itself  # type: ignore[method-assign]
        return worker

    def _fail(self, name: str) -> None:
        if self.fails.get(name):
            raise self.fails[name].pop(0)


class Run:
    """A runner in a separate thread."""

    def __init__(self, site: Site, consumers: Sequence[str] | None = None, *, workers: int = 1) -> None:
        self.site = site
        self.runner = ProcessRunner(site, Metrics(), consumers, workers=workers)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.runner.run, args=(self.stopping,))

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        if self.thread.ident is not None:
            self.thread.join(PATIENCE_S)
            assert not self.thread.is_alive()

    def until(self, what: Callable[[], bool]) -> None:
        until(what, lambda: f"states: {self.states()}")

    def say(self, event: Event, topic: str) -> None:
        identity = event_id(event.type, "test", event.student_number)
        message = Message(identity, "/sesame/test", datetime.now(UTC), event)
        headers, value = to_record(message)
        self.site.producer.append([NewRecord(topic, event.student_number, value, headers)])

    def states(self) -> dict[str, tuple[str, str]]:
        with self.site.database.read() as connection:
            return {each.consumer: (each.state, each.reason) for each in status.statuses(connection)}

    def letters(self) -> list[dead_letters.DeadLetter]:
        with self.site.database.read() as connection:
            return dead_letters.unresolved(connection)

    def propagated(self) -> str | None:
        with self.site.database.read() as connection:
            state: str | None = connection.execute(select(propagation.c.state)).scalar_one_or_none()
        return state

    def enrol_and_activate(self) -> None:
        self.say(enrolled(LEA, year=datetime.now(UTC).year), catalogue.ENROLMENTS)
        self.say(activation(LEA), catalogue.ACTIVATIONS)
