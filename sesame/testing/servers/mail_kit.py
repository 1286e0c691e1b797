"""A mail server in memory: doveadm behind the HTTP client, and LMTP.

It can lie about any answer, refuse a command, and lose an answer. Real Dovecots are in tests/integration.
"""

from __future__ import annotations

import email
import json
import re
import smtplib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from consumers.kit.connector import ConnectorContext, SiteFacts
from consumers.kit.deadline import Deadline
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.dovecot import Doveadm
from consumers.mailbox.lmtp import Lmtp
from consumers.mailbox.settings import MailboxSettings
from consumers.mailbox.welcome import Welcome
from consumers.mailbox.welcome_journal import RecordedIntent
from pipeline.letters import Letterhead
from pipeline.target import HandlerOutcome, Preview, Task
from schemas.account import Account, Person
from sesame.settings import LiveSecret
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.http_kit import transport_to

PROBE = "probe@univ-exemple.fr"
NO_USER, NOT_FOUND, FULL, EXISTS, TEMPORARY = 67, 68, 73, 65, 75


@dataclass
class Box:
    """One mailbox: messages are (folder, UID, Message-ID)."""

    folders: set[str] = field(default_factory=lambda: {"INBOX"})
    subscribed: set[str] = field(default_factory=set)
    quota: str = str(1 << 20)  # KiB
    used_kib: int = 0
    uidvalidity: int = 7
    uidnext: int = 1
    messages: list[tuple[str, int, str]] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)
    active: str | None = None

    def receive(self, message_id: str, folder: str = "INBOX") -> None:
        self.messages.append((folder, self.uidnext, message_id))
        self.uidnext += 1

    def answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Doveadm's answer to a command: rows, or an exit code."""
        return getattr(self, f"_{name}")(arguments)

    def _mailboxList(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802 (doveadm's names)
        shown = self.subscribed if arguments.get("subscriptions") else self.folders
        return [{"mailbox": each} for each in sorted(shown)]

    def _quotaGet(self, _arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        return [
            {"root": "User quota", "type": "STORAGE", "value": str(self.used_kib), "limit": self.quota},
            {"root": "User quota", "type": "MESSAGE", "value": "5000000", "limit": "9"},
        ]

    def _mailboxStatus(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        def row(folder: str) -> dict[str, Any]:
            messages = sum(place == folder for place, _uid, _id in self.messages)
            known = {"uidvalidity": self.uidvalidity, "uidnext": self.uidnext, "messages": messages}
            return {"mailbox": folder, **{name: known[name] for name in arguments["field"]}}

        return [row(folder) for folder in arguments["mailboxMask"] if folder in self.folders]

    def _sieveList(self, _arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        return [{"script": name, "active": "ACTIVE" if name == self.active else ""} for name in self.scripts]

    def _aclGet(self, _arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        return []

    def _sieveGet(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        text = self.scripts.get(arguments["scriptname"])
        return NOT_FOUND if text is None else [{"sieve script": text}]

    def _sievePut(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        self.scripts[arguments["scriptname"]] = arguments["file"]
        if arguments["activate"]:
            self.active = arguments["scriptname"]
        return []

    def _sieveDeactivate(self, _arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        self.active = None
        return []

    def _sieveDelete(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        (name,) = arguments["scriptname"]
        if name == self.active:
            return EXISTS
        return [] if self.scripts.pop(name, None) is not None else NOT_FOUND

    def _mailboxCreate(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        (folder,) = arguments["mailbox"]
        if folder in self.folders:
            return EXISTS
        self.folders.add(folder)
        if arguments["subscriptions"]:
            self.subscribed.add(folder)
        return []

    def _mailboxSubscribe(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        self.subscribed.update(arguments["mailbox"])
        return []

    def _mailboxUnsubscribe(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        self.subscribed.difference_update(arguments["mailbox"])
        return []

    def _mailboxDelete(self, arguments: Mapping[str, Any]) -> Any:  # noqa: N802
        (folder,) = arguments["mailbox"]
        if folder == "INBOX":
            return EXISTS
        if folder not in self.folders:
            return NOT_FOUND
        self.folders.discard(folder)
        self.messages = [each for each in self.messages if each[0] != folder]
        return []

    def _expunge(self, arguments: Mapping[str, Any]) -> Any:
        assert arguments["query"] == ["mailbox", "INBOX", "all"]
        self.messages = [each for each in self.messages if each[0] != "INBOX"]
        return []

    def _fetch(self, arguments: Mapping[str, Any]) -> Any:
        query = list(arguments["query"])
        found = self.messages
        while query:
            match query.pop(0).upper(), query.pop(0):
                case "MAILBOX", folder:
                    found = [each for each in found if folder in ("*", each[0])]
                case "UID", uids:  # `N:*` always names the last message
                    last = max((uid for _, uid, _ in found), default=0)
                    found = [each for each in found if each[1] >= min(int(uids.removesuffix(":*")), last)]
                case "HEADER", name:
                    value = query.pop(0)
                    found = [each for each in found if name.lower() == "message-id" and each[2] == value]
                case key, _:
                    raise AssertionError(f"doveadm knows no {key} in a search")
        rows = [{"mailbox": folder, "uid": str(uid)} for folder, uid, _ in found]
        return [{name: row[name] for name in arguments["field"]} for row in rows]


@dataclass(frozen=True)
class Asked:
    """One doveadm command."""

    name: str
    arguments: Mapping[str, Any]


class MailServer:
    """The server.

    Attributes:
        boxes: mailboxes by address.
        requests: the commands of each doveadm request.
        delivered: recipients, with their messages.
        bends: gets each command and its answer (a code, or rows); returns the answer to give.
        lmtp: gets each LMTP command; returns a reply instead of the usual one, or raises.
    """

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {PROBE: Box()}
        self.requests: list[list[Asked]] = []
        self.delivered: list[tuple[str, bytes]] = []
        self.kicked: list[str] = []
        self.bends: Callable[[Asked, Any], Any] = lambda _asked, answer: answer
        self.lmtp: Callable[[str], tuple[int, bytes] | None] = lambda _command: None
        self.connections = 0

    def asked(self, *names: str) -> list[Asked]:
        """The commands so far, or those of these names."""
        return [each for several in self.requests for each in several if not names or each.name in names]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Doveadm's HTTP API."""
        asked = [(Asked(name, arguments), tag) for name, arguments, tag in json.loads(request.content)]
        self.requests.append([each for each, _ in asked])
        answers = []
        for each, tag in asked:
            answer = self.bends(each, self._answer(each.name, each.arguments))
            if isinstance(answer, int):
                answers.append(["error", {"type": "exitCode", "exitCode": answer}, tag])
            else:
                answers.append(["doveadmResponse", answer, tag])
        return httpx.Response(200, json=answers[::-1])

    def _answer(self, name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "user":
            mask = arguments["userMask"][0]
            found = [user for user in self.boxes if mask in ("*", user)]
            return {"userList": found} if found else NO_USER
        if name == "kick":
            self.kicked += arguments["mask"]
            return []
        box = self.boxes.get(arguments["user"])
        return NO_USER if box is None else box.answer(name, arguments)


class Connection:
    """smtplib's LMTP connection."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self.sock = None
        self.closed = False
        self._recipient = ""
        server.connections += 1

    def _reply(self, command: str, usual: tuple[int, bytes] = (250, b"2.0.0 OK")) -> tuple[int, bytes]:
        if self.closed:
            raise smtplib.SMTPServerDisconnected("closed")
        return self._server.lmtp(command) or usual

    def ehlo_or_helo_if_needed(self) -> None:
        self._reply("LHLO")

    def has_extn(self, name: str) -> bool:
        return name == "starttls"

    def starttls(self, *, context: object) -> tuple[int, bytes]:
        return self._reply("STARTTLS", (220, b"go ahead"))

    def rset(self) -> tuple[int, bytes]:
        return self._reply("RSET")

    def mail(self, _sender: str) -> tuple[int, bytes]:
        return self._reply("MAIL")

    def rcpt(self, recipient: str) -> tuple[int, bytes]:
        self._recipient = recipient
        known = recipient in self._server.boxes
        return self._reply("RCPT", (250, b"2.1.5 OK") if known else (550, b"5.1.1 User unknown"))

    def data(self, message: bytes) -> tuple[int, bytes]:
        instead = self._server.lmtp("DATA")
        if instead is not None:
            return instead
        self._server.delivered.append((self._recipient, message))
        parsed = email.message_from_bytes(message)
        self._server.boxes[self._recipient].receive(parsed["Message-ID"])
        return self._reply("SAVED")

    def quit(self) -> None:
        self._reply("QUIT")

    def close(self) -> None:
        self.closed = True


class Journal:
    """`WelcomeMessages` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, RecordedIntent] = {}

    def intend(self, intended: Mapping[str, tuple[str, int, int]]) -> Mapping[str, RecordedIntent]:
        earlier = self.known(list(intended))
        for number, each in intended.items():
            self.kept.setdefault(number, RecordedIntent(*each, "intended"))
        return earlier

    def known(self, student_numbers: Sequence[str]) -> Mapping[str, RecordedIntent]:
        return {n: self.kept[n] for n in student_numbers if n in self.kept}

    def sent(self, student_numbers: Sequence[str]) -> None:
        self._become(student_numbers, "sent")

    def undecided(self, student_numbers: Sequence[str]) -> None:
        self._become(student_numbers, "undecided")

    def _become(self, student_numbers: Sequence[str], state: str) -> None:
        for number in student_numbers:
            self.kept[number] = replace(self.kept[number], state=state)


def account(number: str, **fields: Any) -> Account:
    """Hugo Roux, of this number."""
    login, person = f"hugo.roux{number}", Person(birth_name="Roux", given_name="Hugo")
    return account_of(number, login, person=person, **{"mail": f"{login}@univ-exemple.fr", **fields})


class MailboxHarness:
    """A mailbox consumer on this server."""

    def __init__(
        self, folders: Sequence[str] = ("Sent", "Scolarite"), quota_bytes: int | None = 1 << 30, **more: Any
    ) -> None:
        self.server = MailServer()
        self.journal = Journal()
        letterhead = Letterhead(sender="sesame@univ-exemple.fr", portal_url="https://sesame.fr")
        self.welcome = Welcome(letterhead, lambda: datetime(2026, 9, 1, tzinfo=UTC))
        settings = MailboxSettings(folders=tuple(folders), api_key=SecretStr("clef"), probe_user=PROBE)
        self._context = ConnectorContext(
            "mailbox",
            settings,
            lambda name: LiveSecret(settings, name),
            site=SiteFacts(mail_quota_bytes=quota_bytes),
            **more,
        )
        self.connector = self._connector(self._context)
        self.handler = self.connector.handler()

    def _connector(self, context: ConnectorContext[MailboxSettings]) -> MailboxConnector:
        doveadm = Doveadm(context, transport=transport_to(self.server), pause=lambda _seconds: None)
        lmtp = Lmtp("mail.example", 24, sender="bounce@x.fr", context=object())  # type: ignore[arg-type]
        journal: Any = self.journal
        return MailboxConnector(context, doveadm, lmtp, journal, self.welcome)

    def observer(self) -> MailboxConnector:
        return self._connector(replace(self._context, read_only=True))

    def soon(self) -> Deadline:
        """The deadline of a batch that begins now."""
        return Deadline.after(20.0, self._context.monotonic)

    def handle(self, *accounts: Account) -> list[HandlerOutcome]:
        outcomes = self.handler.handle([Task(each) for each in accounts])
        return [outcomes[each.student_number] for each in accounts]

    def preview(self, account: Account) -> Preview:
        return self.handler.preview([account])[account.student_number]

    def enable(self, *accounts: Account) -> None:
        """Enable these accounts, as the directory does."""
        self.server.boxes |= {account.mail: Box() for account in accounts}


def lines_of(script: str) -> list[str]:
    return [line for line in script.splitlines() if line and not re.match(r"\s*#", line)]


def desk_of(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> MailboxHarness:
    """A consumer whose connections reach its server."""
    desk = MailboxHarness(**settings)
    monkeypatch.setattr(smtplib, "LMTP", lambda *_args, **_settings: Connection(desk.server))
    return desk
