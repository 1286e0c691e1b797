"""Access to Kafka: addresses, TLS, SCRAM, time-outs, and errors for operators."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kafka import errors as e

from pipeline.eventlog.kafka import workarounds
from pipeline.eventlog.port import (
    LogError,
    LogRefused,
    LogUnavailable,
    NotAllowed,
    NotAssigned,
    RecordTooLarge,
    UnknownTopic,
)
from pipeline.eventlog.settings import LINGER_S
from pipeline.tls import verified

_CONNECT_S_MAX = 3.0
_KNOCKS_MAX = 2
_IDLE_S_MAX = 540.0  # before the servers' own ten minutes: no request meets a connection that they end
_TLS_REMEDIES = {
    # X509_V_ERR_*, of OpenSSL's x509_vfy.h
    9: "Look at this machine's clock, then at the server's certificate.",
    10: "Renew the server's certificate.",
    18: "Name in log.ca_file the authority that signed the server's certificate.",
    19: "Name in log.ca_file the authority that signed the server's certificate.",
    20: "Name in log.ca_file the authority that signed the server's certificate.",
    21: "Name in log.ca_file the authority that signed the server's certificate.",
    62: "Name the server in log.servers as its certificate does.",
    64: "Name the server in log.servers as its certificate does.",
}


class _Silent(Exception):
    """A server that closed the connection or did not answer, and how."""


class Security(StrEnum):
    """The protocol between clients and servers, in Kafka's words."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_SSL = "SASL_SSL"


@dataclass(frozen=True, slots=True)
class Timing:
    """The time-outs."""

    session_timeout_s: float = 15.0
    poll_interval_s_max: float = 60.0
    request_timeout_s: float = 5.0
    delivery_timeout_s: float = 10.0
    linger_s: float = LINGER_S
    known_within_s: float = 1.0
    metadata_age_s_max: float = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """The servers' addresses, and the client's identity.

    Attributes:
        servers: some of them, `host:port`; they name the others.
        client_id: sent to the servers, for their logs and quotas.
        ca_file: PEM, of the authorities that may have signed the servers' certificates; None: the system's.
        username: for SCRAM-SHA-512, with SASL_SSL, like `password`.
    """

    servers: tuple[str, ...]
    client_id: str
    security: Security = Security.PLAINTEXT
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timing: Timing = field(default_factory=Timing)

    def configuration(self) -> dict[str, Any]:
        """Return the configuration of every client of the library."""
        configuration: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "client_id": self.client_id,
            "security_protocol": self.security.value,
            "ssl_context": self._tls(),
            "request_timeout_ms": _ms(self.timing.request_timeout_s),
            "bootstrap_timeout_ms": _ms(self.timing.request_timeout_s),
            "reconnect_backoff_ms": 50,
            "reconnect_backoff_max_ms": 1_000,
            "retry_backoff_ms": 100,
            "metadata_max_age_ms": _ms(self.timing.metadata_age_s_max),
            "connections_max_idle_ms": _ms(_IDLE_S_MAX),
        }
        if self.security is Security.SASL_SSL:
            configuration |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return configuration

    def check(self) -> None:
        """Try the servers one by one until one lets this user in.

        The library would retry silently for long. A lost connection is no refusal: the next server is tried.

        Raises:
            LogRefused: a server's certificate is not accepted, or the user's password.
            LogUnavailable: none answers, or each that does hangs up.
        """
        why: list[str] = []
        for server in self.servers:
            try:
                self._knock(server)
                if self.security is Security.SASL_SSL:
                    self._log_in(server)
            except _Silent as silent:
                why.append(f"{server}: {silent}")
            else:
                return
        raise LogUnavailable(
            f"no Kafka server answers ({'; '.join(why)})",
            remedy="Start it, or mend log.servers; work goes on by itself when it is back.",
        )

    def _knock(self, server: str) -> None:
        """Connect, begin TLS, leave. Raises `LogRefused` (TLS, certificate) or `_Silent` (no server)."""
        for left in reversed(range(_KNOCKS_MAX)):
            try:
                self._begin(server)
            except ssl.SSLCertVerificationError as error:
                text = f"the certificate of {server} is not accepted: {error.verify_message}"
                raise LogRefused(text, remedy=_TLS_REMEDIES.get(error.verify_code, "")) from error
            except ssl.SSLError as error:
                if left and isinstance(error, ssl.SSLEOFError):
                    continue  # a stopping server hangs up once, and then is gone
                text = f"{server} does not speak TLS as it should ({error.reason})"
                raise LogRefused(text, remedy="Look at log.security and at the port.") from error
            except TimeoutError as error:
                raise _Silent(f"no answer within {_CONNECT_S_MAX:g} s") from error
            except OSError as error:
                raise _Silent(error.strerror or str(error)) from error
            return

    def _begin(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        context = self._tls()
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S_MAX) as plain:
            if context is not None:
                context.wrap_socket(plain, server_hostname=host.strip("[]")).close()

    def _log_in(self, server: str) -> None:
        """Log in as the user, then disconnect. Raises `LogRefused`, or `_Silent` without an answer."""
        try:
            workarounds.log_in({**self.configuration(), "bootstrap_servers": [server]})
        except LIBRARY as error:
            if not _may_come_again(error):
                raise self.explain(error, "logging in") from error
            lost = isinstance(error, e.KafkaConnectionError)
            raise _Silent(f"{'hung up' if lost else 'no answer'} during the login") from error

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Raise the library's errors as `LogError`s. `doing` ends the sentence "no answer while …"."""
        try:
            yield
        except LIBRARY as error:
            raise self.explain(error, doing) from error

    def explain(self, error: Exception, doing: str) -> LogError:
        """Return the log's error for one of the library's."""
        if isinstance(error, _REFUSED):
            return LogRefused(f"Kafka refuses the user {self.username!r}: name or password is wrong")
        if isinstance(error, e.UnsupportedSaslMechanismError):
            return LogRefused("Kafka does not offer SCRAM-SHA-512", remedy="Enable it on the servers.")
        if isinstance(error, e.AuthorizationError):
            return self._not_allowed(error, doing)
        if isinstance(error, _LOST):
            return NotAssigned("the group is being shared out anew, or has given this member's part away")
        if isinstance(error, e.UnknownTopicOrPartitionError):
            what = ", ".join(sorted(_names(error))) or "a topic"
            return UnknownTopic(f"{what} is missing ({doing}): create it by `sesame topics apply`")
        if isinstance(error, (e.MessageSizeTooLargeError, e.RecordListTooLargeError)):
            return RecordTooLarge(f"Kafka takes no record of this size ({doing}): see max.message.bytes")
        if isinstance(error, e.CorruptRecordError):
            return LogUnavailable(
                f"a record was damaged ({', '.join([doing, *_names(error)])})",
                remedy="If it stays so, look at the disks of Kafka's servers, and at the network.",
            )
        if _may_come_again(error):
            return self._silent(error, doing)
        return LogError(f"Kafka refuses ({doing}): {type(error).__name__}")

    def _silent(self, error: Exception, doing: str) -> LogError:
        try:
            self.check()
        except LogError as why:
            return why
        return LogUnavailable(f"no answer in time from Kafka while {doing} ({type(error).__name__})")

    def _not_allowed(self, error: Exception, doing: str) -> LogError:
        what = ", ".join(sorted(_names(error)))
        user = f"the user {self.username!r}" if self.username else "whoever gives no name"
        return NotAllowed(f"Kafka does not allow this to {user}: {doing}{f' ({what})' if what else ''}")

    def _tls(self) -> ssl.SSLContext | None:
        if self.security is Security.PLAINTEXT:
            return None
        try:
            return verified(self.ca_file)
        except OSError as error:
            reason = getattr(error, "strerror", None) or "no certificate in it"
            raise LogRefused(
                f"log.ca_file: {self.ca_file} cannot be used: {reason}",
                remedy="It is a PEM file of the authorities that sign the servers' certificates.",
            ) from error


LIBRARY = (e.KafkaError, OSError, RuntimeError)
"""The library's errors; RuntimeError is from a client that was closed meanwhile."""

_AGAIN = (
    OSError,
    RuntimeError,
    e.IllegalStateError,  # closed meanwhile, by another thread whose append failed
    e.OutOfOrderSequenceNumberError,  # an idempotent producer that must be replaced
    e.UnknownProducerIdError,
    e.InvalidProducerEpochError,
    e.InvalidProducerIdMappingError,
)
"""Errors worth another attempt, although the library does not call them retriable."""

_REFUSED = (e.SaslAuthenticationFailedError, e.IllegalSaslStateError)
_LOST = (
    e.CommitFailedError,
    e.RebalanceInProgressError,
    e.IllegalGenerationError,
    e.UnknownMemberIdError,
    e.FencedInstanceIdError,
)
"""Errors of a member that has no part in the group at present."""


def _may_come_again(error: Exception) -> bool:
    return isinstance(error, _AGAIN) or bool(getattr(error, "retriable", False))


def _names(error: Exception) -> Iterator[str]:
    for argument in error.args:
        if isinstance(argument, str):
            yield argument
        elif isinstance(argument, (set, frozenset, list, tuple)):
            yield from (str(each) for each in argument)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
