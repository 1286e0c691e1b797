"""The operators' console on real sockets, with a portal's store and clock."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.routing import Mount

from pipeline import audit
from pipeline.eventlog.port import NewRecord, Producer, TopicPartition
from sandbox.ports import free_port
from sandbox.process import PATIENCE_S
from sandbox.tls import ThrowawayCA
from schemas.envelope import from_record
from schemas.events import Event
from sesame.app.console import ConsolePortTaken, console_context, make_app
from sesame.login import cas_sessions
from sesame.login.cas_sessions import CasSession
from sesame.testing.servers.portal_kit import Portal
from sesame.testing.servers.portal_reader import Browser
from sesame.web.console import PREFIX
from sesame.web.kit.server import Listening, WebServer

COOKIE = "__Host-console"
ROLES = {
    "viewer": ("eduPersonAffiliation=member",),
    "support": ("eduPersonAffiliation=employee",),
    "operator": ("memberOf=cn=sesame-operators, ou=groups,dc=univ,dc=example",),
}
_tickets = itertools.count(1)


@dataclass
class Appended:
    """A producer that records what it appends."""

    log: Producer
    appended: list[NewRecord] = field(default_factory=list)

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        self.appended += records
        return self.log.append(records)

    def close(self) -> None:
        self.log.close()


@dataclass
class ConsoleDesk:
    """One console and its world, started by `with`; it reads the store of `portal`."""

    folder: Path
    store: str = ""  # the database's address; default: a new one of SQLite
    cas: dict[str, Any] = field(default_factory=lambda: {"server_url": "https://127.0.0.1:9/cas/"})
    authority: ThrowawayCA | None = None
    more: dict[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(ROLES))

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.stopping = threading.Event()
        ca = self.authority or ThrowawayCA(self.folder)
        certificate = ca.issue(f"console-{self.port}")
        console = {
            "public_url": self.url,
            "port": self.port,
            "tls_cert_file": certificate.cert_file,
            "tls_key_file": certificate.key_file,
            "roles": self.roles,
        }
        self.portal = Portal(
            self.folder, cas=self.cas, store=self.store, authority=ca, more={"console": console, **self.more}
        )
        self.settings = self.portal.settings
        self.application = self.portal.application
        self.log = Appended(self.application.producer)
        self.application.__dict__["producer"] = self.log
        self.application.__dict__["vault"] = self.portal.vault
        self.settings.vault_key_file.touch(mode=0o600)
        self.settings.vault_key_file.write_text(self.portal.keys[0], encoding="ascii")
        context = console_context(self.application, self.stopping)
        if context is None:
            raise RuntimeError("a console logs in by CAS: `cas` has no `server_url`")
        self.context = context
        app = make_app(self.application, context)
        (mounted,) = (each for each in app.routes if isinstance(each, Mount) and each.path == PREFIX)
        self.routes = list(mounted.routes)
        self._server = WebServer(
            "console",
            app,
            Listening(
                host="localhost",
                port=self.port,
                tls_cert_file=certificate.cert_file,
                tls_key_file=certificate.key_file,
                taken=ConsolePortTaken,
                remedy="",
                grace_s=1,
            ),
        )

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.stop()
        self.application.close()
        self.portal.database.close()

    def session(self, *roles: str, login: str = "ada") -> str:
        """Open a session by a ticket, with these roles; return the browser's token."""
        number = next(_tickets)
        token, now = f"token-{number}", self.portal.clock.now
        session = CasSession(self.settings.console.login_url, login, None, now, now + 3600.0, roles)
        with self.portal.database.write() as connection:
            cas_sessions.open_(connection, token=token, ticket=f"ST-{number}", session=session)
        return token

    def cookie(self, *roles: str, login: str = "ada") -> dict[str, Any]:
        """As `session`, in Chromium's form."""
        value = self.session(*roles, login=login)
        return {"name": COOKIE, "value": value, "url": self.url, "secure": True, "httpOnly": True}

    @contextmanager
    def browser(self, *roles: str, login: str = "ada", **headers: str) -> Iterator[Browser]:
        """A browser without JavaScript, logged in with these roles, if any."""
        context = ssl.create_default_context(cafile=str(self.portal.ca.ca_file))
        with httpx.Client(
            base_url=self.url, verify=context, headers=headers, follow_redirects=True, timeout=PATIENCE_S
        ) as client:
            if roles:
                client.cookies.set(COOKIE, self.session(*roles, login=login))
            yield Browser(client)

    def published(self, number: str) -> list[Event]:
        mine = [each for each in self.log.appended if each.key == number and each.value is not None]
        return [from_record(each.key, each.headers, each.value).event for each in mine if each.value]

    def audit(self, action: str) -> Sequence[Any]:
        with self.portal.database.read() as connection:
            return audit.entries(connection, action=action, limit=100)
