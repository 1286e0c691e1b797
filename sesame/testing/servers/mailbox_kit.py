"""The mailbox consumer on real Dovecot and slapd, its journal in a real store."""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from consumers.kit.connector import ConnectorContext, SiteFacts
from consumers.kit.deadline import Deadline
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.lmtp import Lmtp, Outcome
from consumers.mailbox.settings import MailboxSettings
from consumers.mailbox.welcome import Welcome
from consumers.mailbox.welcome_journal import WelcomeMessages
from pipeline.db.database import Database
from pipeline.letters import Letterhead
from pipeline.target import Handler, HandlerOutcome, Task
from pipeline.tls import trusting
from sandbox.process import PATIENCE_S
from schemas.account import Account, Person
from sesame.settings import LiveSecret
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.post_office import PostOffice
from sesame.testing.servers.stores import sqlite_store

GIB = 1024**3
_numbers = itertools.count(22600001)

LETTERHEAD = Letterhead(
    institution="Université d'exemple",
    sender="ne-pas-repondre@univ-exemple.fr",
    support="assistance@univ-exemple.fr",
    portal_url="https://compte.univ-exemple.fr",
    links=(
        ({"fr": "La messagerie", "en": "Mail"}, "https://webmail.univ-exemple.fr/"),
        ({"fr": "Moodle", "en": "Moodle courses"}, "https://moodle.univ-exemple.fr/"),
    ),
)
WELCOME = Welcome(LETTERHEAD, lambda: datetime(2026, 9, 1, 8, 30, tzinfo=UTC))


class ProcessDied(BaseException):
    """Simulates kill -9: the handler catches none of it."""


@dataclass
class Student:
    """A student with an account, whose mailbox the directory enables."""

    account: Account
    login: str

    @property
    def number(self) -> str:
        return self.account.student_number

    @property
    def mail(self) -> str:
        return self.account.mail

    def now(self, **changes: Any) -> Account:
        self.account = self.account.model_copy(update={"version": self.account.version + 1, **changes})
        return self.account


class Dying(Lmtp):
    """A delivery whose process is killed before the message is sent."""

    delivers = False

    def deliver(self, recipient: str, message: bytes, deadline: Deadline) -> Outcome:
        if self.delivers:
            super().deliver(recipient, message, deadline)
        raise ProcessDied


class DyingAfter(Dying):
    """The same, killed afterwards."""

    delivers = True


class Cut:
    """A relay to a local port that hangs up on the client after so many bytes.

    The server gets everything that was passed on; of its answer to the last part, the client sees nothing.
    """

    def __init__(self, port: int, *, after_bytes: int) -> None:
        self._target = port
        self._after_bytes = after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._relay, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(timeout=PATIENCE_S)
        self._listener.close()

    def _relay(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._target), timeout=PATIENCE_S) as server:
            client.settimeout(PATIENCE_S)
            passed = 0
            while passed < self._after_bytes:
                for end in select.select([client, server], [], [], 20)[0]:
                    data = end.recv(65536)
                    (server if end is client else client).sendall(data)
                    passed += len(data) if end is client else 0
            client.settimeout(1)
            with suppress(TimeoutError):  # whatever else the client still sends
                while data := client.recv(65536):
                    server.sendall(data)
            server.recv(65536)  # the answer, which is lost


@dataclass
class DovecotHarness:
    """Everything that a test of this consumer needs."""

    office: PostOffice
    folder: Path
    folders: tuple[str, ...] = ("Scolarité",)
    quota_bytes: int | None = GIB

    def __post_init__(self) -> None:
        self.database = Database(sqlite_store(self.folder))
        self.journal = WelcomeMessages(self.database, clock=time.time, adopted=lambda _numbers: {})
        self.opened: list[MailboxConnector] = []

    def close(self) -> None:
        for connector in self.opened:
            connector.disconnect()
        self.database.close()

    def context(self, *, read_only: bool = False, **changes: Any) -> ConnectorContext[MailboxSettings]:
        """A context on the server, past the settings' rules: a time-out may be short."""
        dovecot = self.office.dovecot
        settings = MailboxSettings(
            doveadm_url=dovecot.doveadm_url,
            ca_file=dovecot.ca_file,
            api_key=SecretStr(dovecot.api_key_file.read_text(encoding="ascii")),
            lmtp_port=dovecot.ports.lmtp,
            probe_user=self.office.slapd.probe_mail,
            timeout_s=20.0,
        ).model_copy(update={"folders": self.folders, **changes})
        return ConnectorContext(
            "mailbox",
            settings,
            lambda name: LiveSecret(settings, name),
            read_only=read_only,
            site=SiteFacts(mail_quota_bytes=self.quota_bytes, letterhead=LETTERHEAD),
        )

    def lmtp(self, kind: type[Lmtp] = Lmtp, *, ca_file: Path | None = None) -> Lmtp:
        context = trusting("mailbox", ca_file or self.office.dovecot.ca_file)
        return kind("127.0.0.1", self.office.dovecot.ports.lmtp, sender=LETTERHEAD.sender, context=context)

    def connector(
        self,
        *,
        kind: type[MailboxConnector] = MailboxConnector,
        lmtp: Lmtp | None = None,
        journal: WelcomeMessages | None = None,
        read_only: bool = False,
        **changes: Any,
    ) -> MailboxConnector:
        context = self.context(read_only=read_only, **changes)
        connector = kind(context, lmtp=lmtp, journal=journal or self.journal, welcome=WELCOME)
        self.opened.append(connector)
        return connector

    def handler(self, **given: Any) -> Handler:
        return self.connector(**given).handler()

    def student(
        self, login: str, *, language: str = "fr", enabled: bool = True, **attributes: Any
    ) -> Student:
        """Enrol a student, as the directory consumer would."""
        mail = self.office.enrol(
            login,
            sesameMailEnabled="TRUE" if enabled else "FALSE",
            **{"sesameMailQuota": str(GIB), **attributes},
        )
        given, _, family = login.partition(".")
        person = Person(birth_name=family.title(), given_name=given.title(), language=language)
        account = account_of(str(next(_numbers)), login, mail=mail, principal=mail, person=person)
        return Student(account, login)

    def provision(self, *students: Student, handler: Handler | None = None) -> list[HandlerOutcome]:
        """One call of the handler; outcomes in the order of the students."""
        outcomes = (handler or self.handler()).handle([Task(s.account) for s in students])
        return [outcomes[s.number] for s in students]

    def welcomes(self, student: Student, folder: str = "INBOX") -> int:
        """Number of welcome messages that the student sees in a folder."""
        wanted = WELCOME.message_id(student.number)
        return sum(m["Message-ID"] == wanted for m in self.office.messages(student.mail, folder))

    def intended(self, student: Student) -> str | None:
        from consumers.mailbox.welcome_journal import welcome_messages as table

        with self.database.read() as connection:
            row = connection.execute(table.select().where(table.c.student_number == student.number)).first()
        return None if row is None else str(row.state)


@contextmanager
def desk_at(office: PostOffice, folder: Path) -> Iterator[DovecotHarness]:
    desk = DovecotHarness(office, folder)
    try:
        yield desk
    finally:
        desk.close()
