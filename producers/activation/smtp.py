"""Send messages by SMTP (RFC 5321) under verified TLS (RFC 3207, RFC 8314)."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

from pipeline.errors import DependencyDown, SesameError
from pipeline.tls import verified

PERMANENT_FROM = 500
Security = Literal["starttls", "tls", "none"]


class MailServerDown(DependencyDown):
    """The mail server that sends to students cannot be reached, or refuses us just now. Messages wait and are
    tried again until they expire. Check host, port, TLS and password in `[smtp]`, and that server's log."""


class MailRefused(SesameError):
    """The mail server refuses this message for good: the address does not exist, or it takes no mail from us.
    The registrar's office corrects the address; if all are refused, check `[smtp]` and the server's log."""


class AccentsRefused(MailRefused):
    """The mail server takes no address with accents before the @: it does not offer SMTPUTF8 (RFC 6531).
    Switch that on (Postfix: smtputf8_enable), or have the registrar's office enter another address."""


class Post(Protocol):
    """Port to message delivery."""

    def send(self, message: EmailMessage) -> None:
        """Hand over one message until accepted. Raises MailServerDown: retry; MailRefused: never retry it."""


class Smtp:
    """A mail server; one session per message.

    Args:
        security: `starttls`: the session must be upgraded, or nothing is sent; `tls`: from the first byte;
            `none`: clear text, for a server on this very machine.
        user: None: no authentication.
        password: read when it is needed.
        ca_file: verifies the server's certificate; None: the system's authorities.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        security: Security,
        user: str | None = None,
        password: Callable[[], SecretStr] | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        self._host, self._port = host, port
        self._security = security
        self._user, self._password = user, password
        self._ca_file = ca_file
        self._timeout_s = timeout_s

    def send(self, message: EmailMessage) -> None:
        """See `Post.send`."""
        with self._session() as client:
            client.send_message(message)

    def probe(self) -> bool:
        """Open a session; return whether it takes accents before the @ (SMTPUTF8). Raises as `send`."""
        with self._session() as client:
            client.noop()
            return client.has_extn("smtputf8")

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        client: smtplib.SMTP | None = None
        try:
            client = self._connected()
            yield client
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _refusal(min(codes, default=PERMANENT_FROM)) from error
        except smtplib.SMTPAuthenticationError as error:
            raise MailServerDown(f"the mail server refuses our user ({error.smtp_code})") from error
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise _refusal(error.smtp_code) from error
        except smtplib.SMTPNotSupportedError as error:
            if client is not None:
                raise AccentsRefused from error
            raise MailServerDown(f"nothing was sent to the mail server: {error}") from error
        except smtplib.SMTPException as error:
            raise MailServerDown(f"the mail server hung up or refused us: {type(error).__name__}") from error
        except ssl.SSLError as error:
            raise MailServerDown(f"the mail server's certificate is not trusted: {error.reason}") from error
        except OSError as error:
            raise MailServerDown(
                f"no answer from {self._host} port {self._port}: {error.strerror}"
            ) from error
        finally:
            if client is not None:
                with suppress(smtplib.SMTPException, OSError):
                    client.quit()
                client.close()

    def _connected(self) -> smtplib.SMTP:
        context = verified(self._ca_file)
        if self._security == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=context
            )
        else:
            client = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        try:
            if self._security == "starttls":
                client.starttls(context=context)
            client.ehlo_or_helo_if_needed()
            if self._user is not None and self._password is not None:
                client.login(self._user, self._password().get_secret_value())
        except BaseException:
            client.close()
            raise
        return client


def _refusal(code: int) -> SesameError:
    if code >= PERMANENT_FROM:
        return MailRefused(f"the mail server refuses this message for good ({code})")
    return MailServerDown(f"the mail server refuses this message just now ({code})")
