"""The mailboxes, as their owners see them, by IMAP over verified TLS."""

from __future__ import annotations

import contextlib
import imaplib
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.header import decode_header, make_header

from sandbox.demo.finding import Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.dovecot import Dovecot

WELCOME = "one welcome message is due"

_AT_ONCE = 4
_TRIES = 3
_TOLD_EVERY = 500  # logins
_TIMEOUT_S = 30.0


class LoginRefused(Exception):
    """The mail server does not accept this address with this password."""


@dataclass(slots=True)
class Look:
    """Opened mailboxes, rightly refused logins, and disagreements."""

    opened: int = 0
    refused: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)


def look(
    dovecot: Dovecot,
    students: Mapping[str, Student],
    announced: Mapping[str, Announced],
    passwords: Mapping[str, str],
    progress: Callable[[str], None] = lambda _text: None,
) -> Look:
    """Log in as every student; expect one message, or no mailbox, as announced."""
    seen = Look()

    def one(student: Student) -> int | str:
        said = announced[student.number]
        try:
            return len(inbox(dovecot, said.mail, passwords[student.number]))
        except LoginRefused as refused:
            return str(refused)
        except OSError as error:
            return f"no answer: {error}"

    asked = [
        student
        for number, student in students.items()
        if number in announced and (not student.opened or announced[number].given("mailbox"))
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for count, (student, result) in enumerate(zip(asked, pool.map(one, asked), strict=True), start=1):
            if count % _TOLD_EVERY == 0:
                progress(f"mailboxes: {count} of {len(asked)}")
            if isinstance(result, int):
                seen.opened += 1
            if not student.opened:
                seen.refused += isinstance(result, str)
                wrong = "has a mailbox before any enrolment is in force" if isinstance(result, int) else None
            elif isinstance(result, str):
                wrong = f"login refused: {result}"
            else:
                wrong = None if result == 1 else f"{result} messages, {WELCOME}"
            if wrong:
                seen.disagreements.append(Disagreement(student.number, "mailbox", wrong))
    return seen


def inbox(dovecot: Dovecot, address: str, password: str) -> list[str]:
    """The Message-IDs in a student's inbox; reading changes nothing.

    Raises:
        LoginRefused: wrong password, or no such mailbox.
        OSError: no answer, three times.
    """
    for left in reversed(range(_TRIES)):
        try:
            with session(dovecot, address, password) as client:
                return [_header(client, number, "MESSAGE-ID") for number in _numbers(client)]
        except (OSError, imaplib.IMAP4.abort) as error:
            if not left:
                raise OSError(str(error)) from error
    raise AssertionError("unreachable")


@contextlib.contextmanager
def session(dovecot: Dovecot, address: str, password: str) -> Iterator[imaplib.IMAP4_SSL]:
    """A session of a student with the inbox open, read-only.

    Raises `LoginRefused`: wrong password, or no such mailbox.
    """
    tls = ssl.create_default_context(cafile=str(dovecot.ca_file))
    client = imaplib.IMAP4_SSL("127.0.0.1", dovecot.ports.imaps, ssl_context=tls, timeout=_TIMEOUT_S)
    try:
        try:
            client.login(address, password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as refused:
            raise LoginRefused(str(refused)) from refused
        client.select("INBOX", readonly=True)
        yield client
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client.logout()


def subject(client: imaplib.IMAP4_SSL, number: str) -> str:
    """The subject of a message, decoded."""
    return str(make_header(decode_header(_header(client, number, "SUBJECT"))))


def _numbers(client: imaplib.IMAP4_SSL) -> list[str]:
    return [number.decode() for number in client.search(None, "ALL")[1][0].split()]


def _header(client: imaplib.IMAP4_SSL, number: str, name: str) -> str:
    answer = client.fetch(number, f"(BODY.PEEK[HEADER.FIELDS ({name})])")[1][0]
    header = answer[1] if isinstance(answer, tuple) else b""
    return " ".join(header.decode("ascii", "replace").partition(":")[2].split())
