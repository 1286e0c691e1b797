"""Export of the audit to other systems: in order, each entry at least once."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from pipeline.audit import trail
from pipeline.audit.trail import HEAD, REMOVED, HandedOn
from pipeline.db.database import Database, StoreUnavailable
from pipeline.locks import LockHeld, SiteLocks
from pipeline.vault import derive_keys
from sesame.app.syslog import Syslog
from sesame.settings.audit import AuditSettings

LOOK_EVERY_S: Final = 1.0
AFTER_TROUBLE_S: Final = 15.0
ENTRIES_PER_BATCH: Final = 200
_LOCK_S: Final = 120.0  # longer than a batch takes


class Receiver(Protocol):
    """A system that gets entries."""

    def send(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Send these; a return without error means delivery, if the receiver confirms it.

        Raises:
            OSError: send all of them again.
        """


class JsonLines:
    """Appends one JSON object a line to a file. Its id shows that an entry was written twice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Append these, and make them durable."""
        lines = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in documents)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            file.write(lines)
            os.fsync(file.fileno())


def receivers(settings: AuditSettings) -> dict[str, Receiver]:
    """The receivers of the settings, by name."""
    found: dict[str, Receiver] = {}
    if settings.syslog is not None:
        found["syslog"] = Syslog(settings.syslog, ca_file=settings.syslog_ca_file)
    if settings.file is not None:
        found["file"] = JsonLines(settings.file)
    return found


class Pseudonyms:
    """Replaces student numbers by pseudonyms that change every `days` since 1970.

    A receiver keeps what it was sent when the person is erased: so it gets neither number nor salt. The `id`
    of an entry leads those who may read the audit to the person. `keys`: the vault's, the present one first:
    when it is changed, the pseudonyms are.
    """

    def __init__(self, keys: Sequence[str], days: int) -> None:
        [self._key, *_] = derive_keys(keys, "audit pseudonyms")
        self._s = days * 86_400

    def __call__(self, line: HandedOn) -> Mapping[str, Any]:
        """An entry as it is sent."""
        persons = line.document.get("persons")
        if persons is None:
            return line.document
        period = int(line.mark.at // self._s)
        told = {digest: {"pseudonym": self._of(period, each)} for digest, each in persons.items()}
        return {**line.document, "persons": told}

    def _of(self, period: int, person: Mapping[str, Any]) -> str:
        number: str = person["student_number"]
        if person["salt"] is None:  # erased: it is a pseudonym already
            return number
        return hmac.digest(self._key, f"{period}:{number}".encode(), "sha256").hex()[:32]


@dataclass(frozen=True)
class Behind:
    """A receiver's backlog: number of entries, and the oldest one's age in seconds."""

    entries: int
    oldest_s: float


def behind(connection: Connection, name: str, now: float) -> Behind:
    """Return this receiver's backlog at this moment (seconds since the epoch, UTC)."""
    head, reached = trail.mark(connection, HEAD), trail.mark(connection, _mark(name))
    following = trail.documents(connection, after=reached.entry_id, limit=1)
    oldest_s = max(0.0, now - following[0].mark.at) if following else 0.0
    return Behind(max(0, head.entry_id - reached.entry_id), oldest_s)


class AuditExport:
    """Sends new entries to each receiver; of several processes one does at a time.

    Args:
        as_sent: an entry as a receiver gets it.
        on_trouble: called with (`audit`, what is wrong).
    """

    def __init__(
        self,
        database: Database,
        receivers: Mapping[str, Receiver],
        *,
        as_sent: Callable[[HandedOn], Mapping[str, Any]] = lambda line: line.document,
        on_trouble: Callable[[str, str], None],
    ) -> None:
        self._as_sent = as_sent
        self._database = database
        self._receivers = receivers
        self._on_trouble = on_trouble
        self._locks = SiteLocks(database)

    def run(self, stopping: Event) -> None:
        """Look from time to time whether there is something to send."""
        pause_s = LOOK_EVERY_S
        while not stopping.wait(pause_s):
            every = [self.send_due(name, stopping) for name in self._receivers]
            pause_s = LOOK_EVERY_S if all(every) else AFTER_TROUBLE_S

    def send_due(self, name: str, stopping: Event) -> bool:
        """Send what this receiver has not; False if it, or the store, was in trouble."""
        try:
            while self._waiting(name) and not stopping.is_set():
                with self._locks.hold(f"audit {name}", ttl_s=_LOCK_S):
                    self._send_some(name)
        except LockHeld:
            return True  # another process sends
        except (OSError, StoreUnavailable) as error:
            self._on_trouble("audit", f"{name}: not sent: {error}")
            return False
        return True

    def _waiting(self, name: str) -> bool:
        with self._database.read() as connection:
            head, reached = trail.mark(connection, HEAD), trail.mark(connection, _mark(name))
        return (head.entry_id, head.hash) != (reached.entry_id, reached.hash)

    def _send_some(self, name: str) -> None:
        with self._database.read() as connection:
            head, removed = trail.mark(connection, HEAD), trail.mark(connection, REMOVED)
            reached = trail.mark(connection, _mark(name))
            lines = trail.documents(connection, after=reached.entry_id - 1, limit=ENTRIES_PER_BATCH + 1)
            if lines and lines[0].mark == reached:
                lines = lines[1:]
            elif reached.entry_id > removed.entry_id:
                self._on_trouble("audit", f"{name}: {_ANOTHER.format(id=reached.entry_id)}")
                lines = trail.documents(connection, after=0, limit=ENTRIES_PER_BATCH)
        self._receivers[name].send([self._as_sent(line) for line in lines])
        with self._database.write() as connection:
            trail.set_mark(connection, self._database, _mark(name), lines[-1].mark if lines else head)


_ANOTHER: Final = (
    "entry {id} of the audit is not the one that was sent: the store was restored, or somebody has changed it"
    " (sesame audit verify); all that it has is sent again"
)


def _mark(name: str) -> str:
    return f"sent {name}"
