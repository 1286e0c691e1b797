"""The canary's inbox by IMAP (RFC 9051), under verified TLS."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from consumers.mailbox import NAME as MAILBOX
from pipeline.errors import TargetDown
from pipeline.tls import trusting
from schemas.language import gettext

_IMAPS, _IMAP = 993, 143
_TIMEOUT_S: Final = 15.0


class Inbox:
    """One person's inbox.

    Args:
        url: `imaps://HOST:PORT`, or `imap://…` with STARTTLS.
        ca_file: verifies the server; None: the system's authorities.
    """

    def __init__(self, url: str, address: str, password: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._tls_first = parts.scheme == "imaps"
        self._login = address, password
        self._ca_file = ca_file

    def has(self, message_id: str) -> bool:
        """Whether it has this message. Raises TargetDown: no answer, or no login."""
        with self._opened() as client:
            _, found = client.search(None, "HEADER", "Message-ID", f'"{message_id}"')
        return bool(found[0])

    def empty(self) -> None:
        """Delete all its messages. Raises TargetDown."""
        with self._opened() as client:
            if client.search(None, "ALL")[1][0]:
                client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
                client.expunge()

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        try:
            client = self._connected()
            try:
                client.login(*self._login)
                client.select("INBOX")
                yield client
            finally:
                with suppress(OSError, imaplib.IMAP4.error):
                    client.logout()
        except imaplib.IMAP4.error as error:
            raise TargetDown(gettext("IMAP refuses: {why}", why=_shown(error)), unknown=False) from error
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise TargetDown(gettext("IMAP gives no answer: {why}", why=why), unknown=False) from error

    def _connected(self) -> imaplib.IMAP4:
        tls = trusting(MAILBOX, self._ca_file)
        if self._tls_first:
            port = self._port or _IMAPS
            return imaplib.IMAP4_SSL(self._host, port, ssl_context=tls, timeout=_TIMEOUT_S)
        client = imaplib.IMAP4(self._host, self._port or _IMAP, timeout=_TIMEOUT_S)
        try:
            client.starttls(tls)
        except BaseException:
            client.shutdown()
            raise
        return client


def _shown(error: imaplib.IMAP4.error) -> str:
    """The server's words: the library gives bytes as their repr."""
    words = error.args[0] if error.args else ""
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
