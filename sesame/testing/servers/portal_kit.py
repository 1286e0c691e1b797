"""The students' pages on real HTTPS, with a store, a registry and a mail server."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from sqlalchemy import insert, select

from consumers.kit.registration import Choice
from consumers.propagation import rows as propagated
from consumers.registry.handler import Registry
from consumers.registry.people import People
from pipeline import attempts
from pipeline.attempts import Attempt, AttemptEnd
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from pipeline.facts import Fact
from pipeline.outbox import outbox
from pipeline.status import consumer_status
from pipeline.target_states import target_states
from pipeline.vault import Vault, derive_keys, new_key
from producers.activation.mail_proofs import mail_proofs
from producers.activation.notices import Notices
from producers.activation.proofs import Digests
from sandbox.ports import free_port
from sandbox.process import PATIENCE_S, wait_until
from sandbox.smtp import MailSink
from sandbox.tls import ThrowawayCA
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import Message, event_id, from_record, to_record
from schemas.events import ActivationRequested, EnrolmentRecorded, Event
from sesame.app.end_notices import MailedEndNotices, void_links
from sesame.app.wiring import build
from sesame.login.client import CasClient
from sesame.login.login import CasLogins
from sesame.operations.people.support import Support
from sesame.settings import Settings
from sesame.settings.connectors import model_for
from sesame.testing.servers.portal_reader import MAIL, Browser, Letter
from sesame.testing.servers.registry_kit import Clock, enrolled
from sesame.testing.servers.stores import sqlite_store
from sesame.web.students import Cas, Counted, PortalContext, Server

CHEAP = {"memory_kib": 8_192}

BEHIND_A_PROXY = {"trusted_proxies": ("127.0.0.1",), "address_burst": 40}
"""Settings of a portal whose browsers may name their address: `somewhere`."""

_addresses = itertools.count(1)
_numbers = itertools.count(22_850_001)  # numbers that no other file puts into the same directory
_sequences = itertools.count(1)


@dataclass
class Portal:
    """One portal and its world, started by `with`. `wish`: settings of its section.

    Its clock moves only when a test moves it: messages leave without the random delay.
    """

    folder: Path
    wish: dict[str, Any] = field(default_factory=dict)
    proof_delay_s_max: float = 0.0
    clock: Any = field(default_factory=Clock)
    cas: dict[str, Any] = field(default_factory=dict)
    registry_settings: dict[str, Any] = field(default_factory=dict)
    store: str = ""  # the database's address; default: a new one of SQLite
    more: dict[str, Any] = field(default_factory=dict)  # further settings
    authority: ThrowawayCA | None = None  # certifies it; default: a new one
    accents: bool = True  # whether the mail server takes addresses with accents before the @

    def __post_init__(self) -> None:
        self.sink = MailSink(self.folder / "smtp", accents=self.accents)
        self.port = self.wish.get("port") or free_port()
        self.ca = self.authority or ThrowawayCA(self.folder)
        certificate = self.ca.issue(f"portal-{self.port}")
        portal = {
            "public_url": f"https://localhost:{self.port}",
            "port": self.port,
            "tls_cert_file": certificate.cert_file,
            "tls_key_file": certificate.key_file,
            **self.wish,
        }
        smtp = {"host": "localhost", "port": self.sink.port, "ca_file": self.sink.ca_file}
        chosen = {name: Choice.of(name) for name in self.more if name not in Settings.model_fields}
        self.settings = model_for(chosen)(
            data_dir=self.folder,
            portal=portal,
            smtp=smtp,
            activation=CHEAP,
            cas=self.cas,
            registry=self.registry_settings,
            **self.more,
        )
        self.settings.choose(chosen)
        self.database = Database(self.store or sqlite_store(self.folder), clock=self.clock)
        self.keys = [new_key()]
        self.vault = Vault(self.database, self.keys, clock=self.clock)
        self.registry = Registry(
            self.database,
            self.vault,
            self.settings.registry,
            propagated=propagated,
            rules=self.settings.lifecycle,
            services=self.settings.targets,
            notices=MailedEndNotices(
                self.settings,
                Notices(People(self.database), self.vault),
                Digests.of(derive_keys(self.keys, "proofs")),
            ),
            on_new_address=void_links,
        )
        self.troubles: list[str] = []
        self.server = self._server()
        self._offsets = itertools.count()

    def _server(self) -> Server:
        counted = Counted(trouble=self.troubles.append)
        self.application = build(self.settings)
        self.application.__dict__["database"] = self.database  # with the clock of the test
        self.context = PortalContext(
            self.settings,
            self.database,
            self.vault,
            self.keys,
            follows=self.application.follows,
            cas=self._cas(),
            support=Support(self.application),
            counted=counted,
            proof_delay_s_max=self.proof_delay_s_max,
        )
        return Server(self.context)

    def _cas(self) -> Cas | None:
        wanted = self.settings.cas
        if wanted.server_url is None:
            return None
        client = CasClient(
            wanted.server_url,
            wanted.service_url,
            ca_file=wanted.ca_file,
        )
        return Cas(client, CasLogins(self.database, client))

    def __enter__(self) -> Self:
        self.sink.start()
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()
        self.sink.stop()
        self.database.close()

    def restart(self) -> None:
        self.server.stop()
        self.server = self._server()
        self.server.start()

    @property
    def url(self) -> str:
        return self.settings.portal.public_url

    # --- the registrar's and the registry's part ---

    def apply(self, event: Event) -> None:
        personal = not isinstance(event, EnrolmentRecorded)
        topic = catalogue.by_lane(catalogue.ACTIVATIONS, Lane.PERSONAL) if personal else catalogue.ENROLMENTS
        identity = event_id(event.type, "test", str(next(self._offsets)))
        self._handle(Message(identity, "/sesame/test", self.desk_time(), event), topic)

    def _handle(self, message: Message, topic: str) -> None:
        headers, value = to_record(message)
        record = Record(topic, 0, 0, message.event.student_number, value, headers, 0)
        with self.database.write() as connection:
            self.registry.handle(connection, [Fact(record, message)])

    def desk_time(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def student(self, mail: str | None = MAIL, **more: Any) -> str:
        number = str(next(_numbers))
        values = {"personal_mail": mail, "birth_name": f"Essai{number}", **more}
        self.apply(enrolled(number, next(_sequences), **values))
        return number

    def active(self, mail: str = MAIL, **more: Any) -> str:
        """Enrol a student who has activated before; return the number."""
        number = self.student(mail, **more)
        with self.database.write() as connection:
            ref = self.vault.seal(connection, number, "password", "{ARGON2}x")
        self.apply(ActivationRequested(student_number=number, credential_ref=ref))
        return number

    def said(self, number: str) -> list[Event]:
        """A student's events in the outbox, without the registry's announcements."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(outbox).where(outbox.c.key == number).order_by(outbox.c.id)
            ).all()
        messages = [
            from_record(row.key, tuple((n, v.encode()) for n, v in json.loads(row.headers)), row.value)
            for row in rows
        ]
        return [message.event for message in messages if "account.changed" not in message.event.type]

    def deliver(self, number: str) -> None:
        """Let the registry read the pages' events about a student."""
        for event in self.said(number):
            self.apply(event)

    def person(self, number: str) -> Any:
        with self.database.read() as connection:
            return People(self.database).known(connection, number)

    # --- the student's part ---

    @contextmanager
    def browser(self, **headers: str) -> Iterator[Browser]:
        """A browser without JavaScript and without cookies."""
        context = ssl.create_default_context(cafile=str(self.ca.ca_file))
        with httpx.Client(
            base_url=self.url, verify=context, headers=headers, follow_redirects=True, timeout=PATIENCE_S
        ) as client:
            yield Browser(client)

    def message(self, number: str, *, count: int = 1) -> Letter:
        """The newest message about a student, once there are so many."""
        wait_until(lambda: len(self.letters(number)) >= count, f"message {count} about {number}")
        return self.letters(number)[-1]

    def prove(self, browser: Browser, number: str) -> httpx.Response:
        """Ask for a message at a browser, and type its code there."""
        browser.ask(number)
        return browser.send("/code", code=self.message(number).code)

    def wait_for_trouble(self, *, more_than: int) -> None:
        wait_until(lambda: len(self.troubles) > more_than, "the postman to complain")

    def wait_until_sent(self, number: str) -> None:
        def all_sent() -> bool:
            query = select(mail_proofs.c.sent_at).where(mail_proofs.c.student_number == number)
            with self.database.read() as connection:
                return None not in connection.execute(query).scalars().all()

        wait_until(all_sent, "the messages to be noted as sent")

    def letters(self, number: str) -> list[Letter]:
        letters = [Letter(message) for message in self.sink.messages()]
        return [letter for letter in letters if number in letter.text]


def enter(portal: Portal, browser: Browser, number: str) -> None:
    """Show the account's page in a student's own session, as a code opens it."""
    browser.client.cookies.set("__Host-session", portal.context.open_session(number, "mail"))
    browser.get("/compte")


def somewhere() -> dict[str, str]:
    number = next(_addresses)
    return {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250 + 1}"}


def put(
    portal: Portal, number: str, target: str, state: str, reason: str | None, pending: str = "[]"
) -> None:
    """Simulate a consumer's recorded outcome."""
    since = portal.clock.now - 60.0
    values = {
        "target": target,
        "student_number": number,
        "state": state,
        "state_version": 99,
        "reason": reason,
        "pending": pending,
        "since": since,
        "applied_version": 99 if state == "provisioned" else 0,
    }
    statement = portal.database.insert(target_states).values(**values)
    with portal.database.write() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(target_states.primary_key.columns), set_=values
            )
        )
        ended = AttemptEnd.WRITTEN if state == "provisioned" else AttemptEnd(state)
        attempts.record(connection, [Attempt(number, target, 99, 1, ended, reason, "e", since)])


def running(portal: Portal, **states: str) -> None:
    """Simulate these consumers' reports about themselves."""
    now = portal.clock.now
    with portal.database.write() as connection:
        connection.execute(consumer_status.delete())
        for consumer, state in states.items():
            values = {
                "consumer": consumer,
                "process": "p",
                "state": state,
                "reason": "",
                "since": now,
                "seen_at": now,
            }
            connection.execute(insert(consumer_status).values(**values))
