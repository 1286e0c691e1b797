"""PostgreSQL specifics: connecting, and errors that are no fault of the request."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from sqlalchemy import URL, Connection, text

from pipeline.db.forms import head
from pipeline.errors import SesameError

DRIVER: Final = "postgresql+psycopg"
CONNECT_S_MAX: Final = 5
STATEMENT_S_MAX: Final = 60.0
LOCK_S_MAX: Final = 30.0
IDLE_IN_TRANSACTION_S_MAX: Final = 300.0
SILENCE_S_MAX: Final = 30.0
"""Data unanswered for so long: the network counts as gone (`tcp_user_timeout`)."""

_PROGRAM: Final = "sesame/"
_NAME_BYTES_MAX: Final = 63
"""The limit of `application_name`, which names a program at work: form, process, machine."""

_FAULTS: Final = ("08", "25006", "25P", "40", "42501", "42703", "42P01", "53", "55P03", "57", "58", "XX")
"""SQLSTATEs, or classes, of the server's own faults (PostgreSQL, appendix A): connections, read-only (25006),
transactions that were ended (25P, 40), rights (42501), missing tables (42703, 42P01), disk, memory and
connections (53), locks (55P03), an operator's act (57), input and output (58), damage (XX)."""

_CONFLICTS: Final = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock time-out: undone, and may succeed when repeated at once."""

_DAMAGE: Final = ("XX001", "XX002")
"""A page or an index that is damaged."""

_DAMAGED: Final = (
    "Stop every process of Sésame, look at the server's log and its disks, and restore the last backup"
    " (docs/how-to/back-up-restore-upgrade.md)."
)
_MIGRATE: Final = "Run `sesame migrate` once; if a newer version has, upgrade this one."
_REMEDIES: Final = {
    "25006": "It is a standby, or was set read-only: let store.url name the primary, or make it writable.",
    "42501": "Let Sésame's role own the database: ALTER DATABASE … OWNER TO …; then `sesame migrate`.",
    "42703": _MIGRATE,
    "42P01": _MIGRATE,
    "53100": "Make room on the server's disk; work goes on by itself, nothing is lost.",
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
    "53300": "Raise the server's max_connections, or run fewer processes.",
}


class AddressRefused(SesameError):
    """The database's address cannot be used: it is no address, or its connection would not be verified."""


def address(url: URL) -> URL:
    """Return `url` with this project's driver and verified TLS, unless it is local.

    libpq's own default (`sslmode=prefer`) encrypts only if the server offers it, and verifies no server.

    Raises:
        AddressRefused: it names another driver, or asks for less than `sslmode=verify-full` elsewhere.
    """
    if url.drivername not in ("postgresql", DRIVER):
        raise AddressRefused(f"the driver {url.drivername} is not supported", remedy=f"Write {DRIVER}://…")
    given = url.query.get("sslmode")
    if is_local(url) or given == "verify-full":
        return url.set(drivername=DRIVER)
    if given is not None:
        raise AddressRefused(
            f"sslmode={given} does not verify the database's server, which is another machine",
            remedy="Use sslmode=verify-full (the default), with store.ca_file for a CA of your own.",
        )
    return url.set(drivername=DRIVER).update_query_dict({"sslmode": "verify-full"})


def is_local(url: URL) -> bool:
    """Whether nothing leaves this machine: a Unix socket, or a loopback address."""
    named = url.query.get("host", url.host or "")
    hosts = [host for each in ([named] if isinstance(named, str) else named) for host in each.split(",")]
    return all(_is_local(host) for host in hosts)


def _is_local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def connect_args(url: URL) -> dict[str, Any]:
    """Return libpq's parameters: every wait that `url` does not set is bounded."""
    wanted: dict[str, Any] = {
        "connect_timeout": CONNECT_S_MAX,
        "application_name": f"{_PROGRAM}{head()} {os.getpid()}@{socket.gethostname()}"[:_NAME_BYTES_MAX],
        "client_encoding": "utf8",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": int(SILENCE_S_MAX * 1000),
        "options": " ".join(
            (
                f"-c statement_timeout={int(STATEMENT_S_MAX * 1000)}",
                f"-c lock_timeout={int(LOCK_S_MAX * 1000)}",
                f"-c idle_in_transaction_session_timeout={int(IDLE_IN_TRANSACTION_S_MAX * 1000)}",
                "-c timezone=UTC",
            )
        ),
    }
    if url.query.get("sslmode") == "verify-full":
        wanted["sslrootcert"] = "system"
    return {name: value for name, value in wanted.items() if name not in url.query}


@dataclass(frozen=True)
class Program:
    """A program with this database open. `form`: the newest that it knows, empty if it reports none."""

    form: str
    words: str


def programs(connection: Connection) -> list[Program]:
    """Return the programs connected to this database. By `application_name`, in `pg_stat_activity`."""
    names = connection.scalars(
        text(
            "SELECT DISTINCT application_name FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'sesame%' ORDER BY 1"
        )
    )
    return [Program(name.partition(_PROGRAM)[2].partition(" ")[0], name) for name in map(str, names)]


def is_servers_fault(error: BaseException | None) -> bool:
    """Return whether the server is at fault: the same request may succeed later."""
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state.startswith(_FAULTS)


def is_conflict(error: BaseException | None) -> bool:
    """Return whether a conflict with another transaction undid this one."""
    return getattr(error, "sqlstate", None) in _CONFLICTS


def is_damage(error: BaseException | None) -> bool:
    """Whether the server found its own files broken."""
    return getattr(error, "sqlstate", None) in _DAMAGE


def in_words(error: BaseException | None) -> str:
    """Return the server's message, in one line, without its details' values."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(primary) if primary else " ".join(str(error).split())


def remedy(error: BaseException | None) -> str:
    """Return the remedy, where one is known."""
    return _REMEDIES.get(getattr(error, "sqlstate", None) or "", "")
