"""One call of an external function: its caller, rights and connection."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sandbox.moodle.conditions import CAPABILITIES, Conditions, Fault, FaultKind, SiteState
from sandbox.moodle.errors import no_permission, write_error
from sandbox.moodle.params import Single
from sandbox.moodle.storage import Storage

_RENDEZVOUS_S: Final = 10.0


class WorkerKilled(Exception):
    """php-fpm ended the worker because the call took too long: nothing of it is kept."""


@dataclass(slots=True)
class Call:
    """The caller, the site and the connection of one call."""

    storage: Storage
    db: sqlite3.Connection
    state: SiteState
    conditions: Conditions
    caller: sqlite3.Row
    fault: Fault | None = None

    def has(self, capability: str) -> bool:
        """Whether the service user's role grants the capability."""
        return capability in CAPABILITIES and capability not in self.conditions.missing_capabilities

    def require(self, capability: str, *alternatives: str) -> None:
        """Require a capability or an alternative, else raise MoodleError `nopermissions`."""
        if not any(self.has(name) for name in (capability, *alternatives)):
            raise no_permission(capability)

    def work(self, rows: int, *, writing: bool) -> None:
        """Spend the site's time for so many rows, and meet the fate of a writer meanwhile.

        Called between a function's checks and its writes, so that a race is as possible as on a real site.
        Raises MoodleError `dmlwriteexception` on a lock held elsewhere, and WorkerKilled.
        """
        conditions = self.conditions
        seconds = conditions.latency_per_call_s + rows * conditions.latency_per_row_s
        seconds += self.fault.delay_s if self.fault is not None else 0.0
        limit_s = conditions.terminate_timeout_s
        if limit_s is not None and seconds > limit_s:
            time.sleep(limit_s)
            raise WorkerKilled
        if seconds > 0:
            time.sleep(seconds)
        if not writing:
            return
        self.state.meet(_RENDEZVOUS_S)
        if conditions.rows_locked:
            raise write_error("Lock wait timeout exceeded; try restarting transaction")
        if self.fault is not None and self.fault.kind is FaultKind.DEADLOCK:
            raise write_error("Deadlock found when trying to get lock; try restarting transaction")


Handler = Callable[[Call, dict[str, Any]], object]


@dataclass(frozen=True, slots=True)
class Function:
    """An external function: its parameters, and its work once they are valid."""

    parameters: Single
    handler: Handler
