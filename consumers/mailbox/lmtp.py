"""Delivery over LMTP (RFC 2033), with StartTLS, over kept connections.

One recipient per transaction: LMTP answers DATA once per recipient, and Python's smtplib reads one answer.
"""

from __future__ import annotations

import smtplib
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

from consumers.kit.connector import Held, Refused
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.mailbox.commands import LOST
from consumers.mailbox.mailbox import FULL
from pipeline.errors import Misconfigured, TargetDown
from pipeline.tls import tls_fault

_POSITIVE = range(200, 300)
_TEMPORARY = range(400, 500)
_IDLE_MAX = 8


Outcome = Held | Refused | None
"""The outcome of one message; None: the server took charge of it.

Its text has the reply's codes (RFC 3463), never its address or text, which are personal."""


class Lmtp:
    """An LMTP service. Thread-safe: one connection per transaction.

    Args:
        host, port: of the service.
        sender: the envelope's sender.
        context: TLS, verified; used whenever the service offers it, which it must outside loopback.
        local_hostname: how the client names itself; None: the machine's name.
    """

    def __init__(
        self, host: str, port: int, *, sender: str, context: ssl.SSLContext, local_hostname: str | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._context = context
        self._local_hostname = local_hostname
        self._idle: deque[smtplib.LMTP] = deque()

    def deliver(self, recipient: str, message: bytes, deadline: Deadline) -> Outcome:
        """Deliver one message (with CRLF line ends) to one mailbox.

        Raises:
            TargetDown: no connection could be made; nothing was sent.
            OutOfTime: likewise, for the time was used up.
            Misconfigured: the certificate does not verify, or TLS is missing outside loopback.
        """
        client = self._connection(deadline)
        outcome = _transaction(client, self._sender, recipient, message, deadline)
        unknown = isinstance(outcome, Refused) and outcome.unknown
        if unknown or len(self._idle) >= _IDLE_MAX:
            client.close()
        else:
            self._idle.append(client)
        return outcome

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            client = self._idle.pop()
            with suppress(OSError):  # smtplib's errors are among them
                client.quit()
            client.close()

    def _connection(self, deadline: Deadline) -> smtplib.LMTP:
        """A kept connection that still answers, or a new one."""
        while True:
            try:
                client = self._idle.pop()
            except IndexError:
                return self._connect(deadline)
            try:
                if _step(client, deadline, client.rset)[0] in _POSITIVE:
                    return client
            except OSError:
                pass
            client.close()

    def _connect(self, deadline: Deadline) -> smtplib.LMTP:
        try:
            client = smtplib.LMTP(
                self._host, self._port, local_hostname=self._local_hostname, timeout=deadline.left_s()
            )
        except OSError as error:
            raise TargetDown(f"LMTP: no connection ({type(error).__name__})", unknown=False) from error
        try:
            _step(client, deadline, client.ehlo_or_helo_if_needed)
            self._secure(client, deadline)
        except OSError as error:
            client.close()
            if isinstance(tls_fault(error), ssl.SSLCertVerificationError):
                raise Misconfigured(
                    "the LMTP service's certificate does not verify",
                    remedy="mailbox.ca_file names its authority, lmtp_host a name that it holds.",
                ) from error
            raise TargetDown(f"LMTP: no session ({type(error).__name__})", unknown=False) from error
        except BaseException:
            client.close()
            raise
        return client

    def _secure(self, client: smtplib.LMTP, deadline: Deadline) -> None:
        if client.has_extn("starttls"):
            _step(client, deadline, lambda: client.starttls(context=self._context))
            _step(client, deadline, client.ehlo_or_helo_if_needed)
        elif not _loopback(self._host):
            raise Misconfigured(
                "the LMTP service offers no TLS", remedy="Give Dovecot a certificate for it (ssl = required)."
            )


def _transaction(
    client: smtplib.LMTP, sender: str, recipient: str, message: bytes, deadline: Deadline
) -> Outcome:
    """MAIL, RCPT, DATA. A break before the message's last line means that nothing was delivered."""
    try:
        for command in (lambda: client.mail(sender), lambda: client.rcpt(recipient)):
            code, text = _step(client, deadline, command)
            if code not in _POSITIVE:
                return outcome_of(code, text)
    except (OSError, OutOfTime) as error:
        client.close()
        return _deferred(type(error).__name__)
    try:
        code, text = _step(client, deadline, lambda: client.data(message))
    except smtplib.SMTPDataError as error:  # DATA itself was refused, before the message
        return outcome_of(error.smtp_code, _bytes(error.smtp_error))
    except OutOfTime:  # DATA was not begun
        return _deferred("out of time")
    except OSError as error:  # the connection broke after the message was sent
        why = f"the delivery's outcome is unknown ({type(error).__name__})"
        return Refused("delivery_unknown", why, unknown=True)
    return outcome_of(code, text)


def outcome_of(code: int, text: bytes) -> Outcome:
    """The meaning of a reply to RCPT, DATA or the message. RFC 5321, section 4.2; RFC 3463."""
    first = text.partition(b" ")[0].decode("ascii", errors="replace")
    enhanced = first if first.replace(".", "").isdigit() else ""
    codes = f"{code} {enhanced}".strip()
    if code in _POSITIVE:
        return None
    if code == 552 or enhanced.endswith(".2.2"):  # noqa: PLR2004  (RFC 5321: exceeded storage allocation)
        return FULL
    if enhanced in ("5.1.1", "5.1.0", "5.2.1"):
        return LOST
    if code in _TEMPORARY:
        return _deferred(codes)
    why = f"the mail server refuses the welcome message (LMTP {codes})"
    return Refused("welcome_refused", why, lasting=True)


def _deferred(codes: str) -> Refused:
    return Refused("delivery_deferred", f"the mail server defers the welcome message (LMTP {codes})")


def _step(
    client: smtplib.LMTP, deadline: Deadline, command: Callable[[], tuple[int, bytes] | None]
) -> tuple[int, bytes]:
    """Run one command within the time left; smtplib's time-out is per connection."""
    left_s = deadline.left_s()
    if client.sock is not None:
        client.sock.settimeout(left_s)
    return command() or (250, b"")


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
