"""A receiver on loopback, and its events."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook

from consumers.webhooks import rows
from consumers.webhooks.handler import Webhooks
from consumers.webhooks.sender import Sender
from consumers.webhooks.settings import WebhookReceiver
from pipeline.db.database import Database
from pipeline.eventlog.port import Record, TopicPartition
from pipeline.facts import Fact
from sandbox.http_server import HttpServer
from sandbox.ports import free_port
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message, event_id
from schemas.events import DeadLetterRecorded, Event, PropagationCompleted, PropagationLate, Window
from sesame.testing.servers.database_kit import START, Clock

LEA, NOAH = "22001234", "22005678"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT = "whsec_" + "QUJD" * 8
ISSUER = "https://sesame.univ-exemple.fr"
NEVER = threading.Event()


@dataclass
class Heard:
    """One request: its headers by name in lower case, and its body."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def student(self) -> str:
        return str(json.loads(self.body)["data"]["student_number"])

    def checked(self, *secrets: str) -> Any:
        """Its message, as the reference library reads it with each of these keys."""
        [said] = [Webhook(secret).verify(self.body, self.headers) for secret in secrets][-1:]
        return said


@dataclass
class Program:
    """A receiver: answers these statuses first, then 204."""

    port: int = field(default_factory=free_port)
    heard: list[Heard] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    refuses: set[str] = field(default_factory=set)  # students, with 422
    names_events: bool = True  # false: it gets tokens
    body: str = ""

    def answer(self, *statuses: int, **headers: str) -> None:
        self.answers.extend((status, headers) for status in statuses)

    @property
    def students(self) -> list[str]:
        return [one.student for one in self.heard]

    @contextmanager
    def serving(self) -> Iterator[None]:
        program = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                heard = Heard({name.lower(): value for name, value in self.headers.items()}, body)
                program.heard.append(heard)
                status, headers = (204, {}) if not program.answers else program.answers.popleft()
                refused = program.names_events and heard.student in program.refuses
                self.send_response(422 if refused else status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                content = program.body.encode() if status >= 400 else b""
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """It is quiet."""

        server = HttpServer(self.port, Requests, None)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@dataclass
class WebhookHarness:
    """Senders on a new store, with settable times."""

    database: Database
    clock: Clock
    folder: Path
    ticks: Clock = field(default_factory=Clock)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    lags: dict[str, dict[TopicPartition, int]] = field(default_factory=dict)
    receivers: dict[str, WebhookReceiver] = field(default_factory=dict)
    count: int = 0
    now: float = START  # of the handler

    def key_file(self, name: str, *keys: str) -> Path:
        path = self.folder / f"{name}.keys"
        path.write_text("\n".join(keys) + "\n")
        path.chmod(0o600)
        return path

    def sender(
        self, program: Program, name: str = "portal", keys: Sequence[str] = (SECRET,), **more: Any
    ) -> Sender:
        url = f"http://127.0.0.1:{program.port}/hooks"
        receiver = WebhookReceiver(url=url, key_file=self.key_file(name, *keys), **more)
        self.receivers[name] = receiver
        return Sender(
            *(name, receiver, self.database, self),
            url=url,
            timeout_s=5,
            issuer=ISSUER,
            monotonic=self.ticks,
            spread=lambda: 1.0,
        )

    def say(self, event: Event, topic: str = catalogue.PROPAGATION, identity: str = "") -> str:
        """Put this event on the log; return its id."""
        self.count += 1
        identity = identity or event_id(event.type, "test", self.count)
        message = Message(identity, "/sesame/propagation", datetime.fromtimestamp(START, UTC), event)
        record = Record(topic, 0, self.count, event.student_number, b"", (), 0)
        wanted = {name: each.types for name, each in self.receivers.items()}
        handler = Webhooks(self.database, wanted, clock=lambda: self.now)
        with self.database.write() as connection:
            handler.handle(connection, [Fact(record, message)])
        return identity

    def passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.ticks.now += seconds

    def waiting(self, name: str = "portal") -> int:
        with self.database.read() as connection:
            return sum(rows.waiting(connection, name).values())

    # --- what a sender reports ---

    def state(self, consumer: str, state: str, reason: str) -> None:
        self.states[consumer] = (state, reason)

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        self.lags[consumer] = lag

    def trouble(self, consumer: str, what: str) -> None:
        self.states[f"{consumer} trouble"] = ("", what)


def completed(student: str = LEA, *, version: int = 1, lane: Lane = Lane.PERSONAL) -> PropagationCompleted:
    moment = datetime.fromtimestamp(START, UTC)
    return PropagationCompleted(
        student_number=student,
        version=version,
        lane=lane,
        window=Window.WITHIN_15_MIN if lane is Lane.PERSONAL else Window.BULK,
        opened_at=moment,
        completed_at=moment,
        elapsed_s=4.0,
        waited_s=0.0,
        targets_s={"moodle": 4.0},
    )


def late(student: str = LEA) -> PropagationLate:
    moment = datetime.fromtimestamp(START, UTC)
    return PropagationLate(
        student_number=student, version=1, opened_at=moment, elapsed_s=900.0, outstanding=("moodle",)
    )


def letter(consumer: str) -> DeadLetterRecorded:
    return DeadLetterRecorded(
        student_number=LEA, dead_letter_id="a" * 40, consumer=consumer, cause="collision", attempts=1
    )
