"""A real slapd and a real Dovecot, with students of the one and their mailboxes."""

from __future__ import annotations

import contextlib
import imaplib
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from types import TracebackType
from typing import Any, Self

import httpx
from argon2 import PasswordHasher
from ldap3 import SAFE_SYNC, Connection, Server

from sandbox.dovecot import Dovecot, LookupDirectory
from sandbox.ldap import VerifiedTls
from sandbox.process import PATIENCE_S
from sandbox.slapd import Slapd

_HASHER = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)


@dataclass
class PostOffice:
    """Both servers, started by `with` and ended with it. `access_lists`: students may share folders."""

    slapd: Slapd = field(default_factory=lambda: Slapd(fsync=False))
    access_lists: bool = False

    def __post_init__(self) -> None:
        self.dovecot = Dovecot(LookupDirectory.of(self.slapd), access_lists=self.access_lists)
        self.students = 0

    def __enter__(self) -> Self:
        self.slapd.start()
        self.dovecot.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dovecot.close()
        self.slapd.close()

    # --- the directory consumer's part ---

    def enrol(self, login: str, *, password: str = "Sésame-ouvre-2026", **attributes: Any) -> str:
        """Add a student whose mailbox is enabled, and return the address."""
        self.students += 1
        entry = {
            "objectClass": ["inetOrgPerson", "eduPerson", "supannPerson", "sesameAccount"],
            "cn": login,
            "sn": login,
            "mail": f"{login}@{self.slapd.layout.domain}",
            "supannEtuId": f"2260{self.students:04d}",
            "sesameMailEnabled": "TRUE",
            "userPassword": "{ARGON2}" + _HASHER.hash(password),
            **attributes,
        }
        with self._directory() as directory:
            done, result, _, _ = directory.add(  # type: ignore[no-untyped-call]
                f"uid={login},{self.slapd.people_dn}", attributes=entry
            )
            assert done, result
        return str(entry["mail"])

    def enrol_many(self, logins: Iterable[str]) -> None:
        """Add students without a password."""
        with self._directory() as directory:
            for login in logins:
                done, result, _, _ = directory.add(  # type: ignore[no-untyped-call]
                    f"uid={login},{self.slapd.people_dn}",
                    attributes={
                        "objectClass": ["inetOrgPerson", "sesameAccount"],
                        "cn": login,
                        "sn": login,
                        "mail": f"{login}@{self.slapd.layout.domain}",
                        "sesameMailEnabled": "TRUE",
                    },
                )
                assert done, result

    def change(self, login: str, **attributes: list[str]) -> None:
        """Replace attributes of a student's entry; an empty list removes one."""
        changes = {name: [("MODIFY_REPLACE", values)] for name, values in attributes.items()}
        with self._directory() as directory:
            done, result, _, _ = directory.modify(  # type: ignore[no-untyped-call]
                f"uid={login},{self.slapd.people_dn}", changes
            )
            assert done, result

    @contextlib.contextmanager
    def _directory(self) -> Iterator[Connection]:
        connection = Connection(
            Server(self.slapd.ldaps_uri, tls=VerifiedTls(self.slapd.ca_file), connect_timeout=PATIENCE_S),
            user=self.slapd.provisioner_dn,
            password=self.slapd.provisioner_password_file.read_text(encoding="ascii"),
            client_strategy=SAFE_SYNC,
            receive_timeout=int(PATIENCE_S),
            auto_bind="NO_TLS",
        )
        try:
            yield connection
        finally:
            connection.unbind()  # its own `with` leaves a connection open that was bound before

    # --- what others may look at ---

    def imap(self, address: str, *, password: str = "Sésame-ouvre-2026") -> imaplib.IMAP4:
        """Log in as a student does: STARTTLS, verified, with the student's own password."""
        tls = ssl.create_default_context(cafile=str(self.dovecot.ca_file))
        client = imaplib.IMAP4("127.0.0.1", self.dovecot.ports.imap, timeout=PATIENCE_S)
        try:
            client.starttls(tls)
            client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
        except (imaplib.IMAP4.error, OSError):
            client.shutdown()
            raise
        return client

    def messages(self, address: str, folder: str = "INBOX") -> list[Message]:
        client = self.imap(address)
        try:
            client.select(folder, readonly=True)
            numbers = client.search(None, "ALL")[1][0].split()
            bodies = [client.fetch(number.decode(), "(RFC822)")[1][0] for number in numbers]
            return [message_from_bytes(body[1]) for body in bodies if isinstance(body, tuple)]
        finally:
            client.logout()

    def doveadm(self, *commands: tuple[str, dict[str, Any]]) -> list[tuple[str, Any]]:
        return doveadm(self.dovecot, *commands)


def doveadm(dovecot: Dovecot, *commands: tuple[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    """Call a server's doveadm over HTTP as an administrator, one answer per command."""
    key = b64encode(dovecot.api_key_file.read_bytes()).decode()
    tls = ssl.create_default_context(cafile=str(dovecot.ca_file))
    with httpx.Client(verify=tls, timeout=PATIENCE_S) as client:
        answer = client.post(
            dovecot.doveadm_url,
            json=[[name, arguments, str(tag)] for tag, (name, arguments) in enumerate(commands)],
            headers={"Authorization": f"X-Dovecot-API {key}"},
        )
    answer.raise_for_status()
    return [(kind, body) for kind, body, _ in answer.json()]
