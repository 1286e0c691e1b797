"""A whole site in one process: `sesame run` with some targets in memory, and facts to feed it with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from consumers.directory.connector import DirectoryConnector
from pipeline import status
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import TargetDown
from pipeline.eventlog.port import Headers, NewRecord, TopicPartition
from pipeline.target import Handler
from pipeline.vault import new_key
from sandbox.process import PATIENCE_S
from schemas import catalogue
from schemas.envelope import Message, event_id, from_record, to_record
from schemas.events import Event
from sesame.app import gc_freeze
from sesame.app.observability.metrics import Metrics
from sesame.app.process_runner import ProcessRunner
from sesame.app.wiring import Application
from sesame.operations.people.diagnosis.person import PersonStatus, person_status
from sesame.settings import load
from sesame.testing.servers.registry_kit import activation, enrolled
from sesame.testing.servers.target_kit import Target


class Site(Application):
    """The application that these settings describe, with targets of `in_memory` in memory.

    Args:
        settings: TOML, added to what every test wants. By it the same tests run over another event log.
    """

    def __init__(self, folder: Path, settings: str = "", *, in_memory: tuple[str, ...] = ()) -> None:
        folder.mkdir(exist_ok=True)
        for key in (folder / "vault.key", folder / "privacy.key"):
            if not key.exists():
                key.touch(mode=0o600)
                key.write_text(new_key(), encoding="ascii")
        path = folder / "sesame.toml"
        common = f'data_dir = "{folder}"\nhttp.port = 0\nengine.shutdown_s_max = 1\n'
        path.write_text(common + settings, encoding="utf-8")
        super().__init__(load(path))
        self._in_memory = in_memory
        self.held: dict[str, Target] = {}

    def handler(self, target: str) -> Handler:
        if target not in self._in_memory:
            return super().handler(target)
        self.held[target] = Target(target)
        return self.held[target]

    @contextmanager
    def directory(self) -> Iterator[DirectoryConnector]:
        if "directory" in self._in_memory:
            raise TargetDown("there is no directory to look for others' names in")
        with super().directory() as directory:
            yield directory

    # --- facts in -------------------------------------------------------------------------------------

    def say(self, event: Event, topic: str, *, tell_apart: str = "") -> TopicPartition:
        """Publish an event, as its producer would."""
        identity = event_id(event.type, "test", event.student_number, tell_apart)
        headers, value = to_record(Message(identity, "/sesame/test", datetime.now(UTC), event))
        return self.throw(topic, event.student_number, value, headers)[0]

    def throw(self, topic: str, key: str, value: bytes, headers: Headers = ()) -> tuple[TopicPartition, int]:
        """Append whatever it is; return where it went."""
        [placed] = self.producer.append([NewRecord(topic, key, value, headers)])
        return placed

    def enrol_and_activate(self, number: str, birth_name: str, given_name: str) -> None:
        year = datetime.now(UTC).year
        enrolment = enrolled(number, year=year, birth_name=birth_name, given_name=given_name)
        self.say(enrolment, catalogue.ENROLMENTS)
        self.say(activation(number), catalogue.ACTIVATIONS)

    # --- what comes of them ---------------------------------------------------------------------------

    def person(self, number: str) -> PersonStatus | None:
        targets = self.settings.targets
        with self.database.read() as connection:
            return person_status(connection, self.database, number, targets=targets, follows=self.follows)

    def states(self, number: str) -> dict[str, str]:
        person = self.person(number)
        return {each.target: each.state for each in person.targets} if person is not None else {}

    def letters(self) -> list[dead_letters.DeadLetter]:
        with self.database.read() as connection:
            return dead_letters.unresolved(connection)

    def consumers(self) -> dict[str, tuple[str, str]]:
        with self.database.read() as connection:
            return {each.consumer: (each.state, each.reason) for each in status.statuses(connection)}

    def lag(self, group: str, topics: tuple[str, ...]) -> int:
        """Records that the group has not committed yet; only while its own member is stopped."""
        consumer = self.log.consumer(group, topics, member=self.members.name(group))
        try:
            consumer.poll(0, 0.0)
            return sum(consumer.lag().values())
        finally:
            consumer.close()

    def published(self, topic: str) -> list[Message]:
        """Every event of a topic that can be read, in order per partition."""
        return [from_record(*record) for record in self.records(topic)]

    def records(self, topic: str) -> Iterator[tuple[str, Headers, bytes]]:
        """Everything on a topic."""
        consumer = self.log.consumer(f"look-{topic}", [topic], member="look")
        try:
            left = sum(self.log.end_offsets(topic).values())
            while left:
                for record in consumer.poll(500, 1.0):
                    left -= 1
                    yield record.key, record.headers, record.value
        finally:
            consumer.close()


@contextmanager
def running(site: Site) -> Iterator[None]:
    """`sesame run` in a thread, until the end of the block. It settles nothing: what all tests have loaded
    would be walked through, half a second each time, and kept for ever."""
    with patch.object(gc_freeze, "settle"), in_thread(ProcessRunner(site, Metrics()).run):
        yield


@contextmanager
def in_thread(work: Callable[[threading.Event], object]) -> Iterator[None]:
    """Something works in a thread until the end of the block, where it is told to stop."""
    stopping = threading.Event()
    thread = threading.Thread(target=work, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def without(headers: Headers, *names: str) -> Headers:
    """These headers but for some."""
    return tuple((name, value) for name, value in headers if name not in names)


def replaced(headers: Headers, values: Mapping[str, bytes]) -> Headers:
    """These headers with other values."""
    return tuple((name, values.get(name, value)) for name, value in headers)
