"""A site's troubles, for an operator or a test to switch on.

A condition lasts until it is changed. A fault strikes the next calls that match it, then is gone. Both live
in memory: a restarted stand-in begins with the conditions of its command line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

CAPABILITIES: Final = frozenset(
    {
        "moodle/user:create", "moodle/user:update", "moodle/user:delete", "moodle/user:viewdetails",
        "moodle/user:viewalldetails", "moodle/user:viewhiddendetails", "moodle/site:viewuseridentity",
        "moodle/site:viewfullnames", "moodle/cohort:manage", "moodle/cohort:view", "moodle/cohort:assign",
        "webservice/rest:use",
    }
)  # fmt: skip
"""The service user's rights, without `missing_capabilities`."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The site's configuration and troubles; times in seconds, sizes in bytes."""

    site_name: str = "Moodle"
    site_url: str = "http://127.0.0.1"
    version: str = "2024100706"
    debug_display: bool = False
    allow_accounts_same_email: bool = False
    web_services: bool = True
    rest_protocol: bool = True
    service_enabled: bool = True
    cli_maintenance: bool = False
    web_maintenance: bool = False
    upgrade_running: bool = False
    database_down: bool = False
    rows_locked: bool = False  # another session holds row locks for longer than the lock wait: writes fail
    dataroot_writable: bool = True
    fpm_down: bool = False
    missing_capabilities: frozenset[str] = frozenset()
    max_input_vars: int = 1000  # PHP's default; Moodle's environment check wants 5000
    post_max_size_bytes: int = 64 * 1024 * 1024
    latency_per_call_s: float = 0.0
    latency_per_row_s: float = 0.0
    proxy_timeout_s: float | None = None  # nginx answers 504 then; PHP carries on and commits
    terminate_timeout_s: float | None = None  # php-fpm kills the worker then: 502, nothing is committed


class FaultKind(Enum):
    """The fault of a call; after those named `_after_commit` its work is done."""

    UNAVAILABLE = "unavailable"  # 503 with Retry-After, not executed
    BAD_GATEWAY = "bad_gateway"  # 502, not executed
    SERVER_ERROR = "server_error"  # 500 without a body: PHP ran out of memory, nothing is kept
    EMPTY_BODY = "empty_body"  # 200 text/html without a body: the same with display_errors on
    HANG_UP = "hang_up"  # the connection is closed, not executed
    DELAY = "delay"  # nothing but `delay_s`: another session holds a lock for so long
    DEADLOCK = "deadlock"  # dmlwriteexception, nothing is kept
    GATEWAY_TIMEOUT_AFTER_COMMIT = "gateway_timeout_after_commit"  # 504
    HANG_UP_AFTER_COMMIT = "hang_up_after_commit"
    EMPTY_BODY_AFTER_COMMIT = "empty_body_after_commit"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the next calls of `wsfunction` (None: of any), or a share of them."""

    kind: FaultKind
    calls: int = 1
    wsfunction: str | None = None
    retry_after_s: int | None = None
    delay_s: float = 0.0
    share: float = 1.0

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Fault:
        """Read a fault of the control interface. Raises ValueError or TypeError on unknown fields."""
        return cls(**{**body, "kind": FaultKind(body.get("kind"))})


class Rendezvous:
    """Lets `parties` writing calls meet between check and write: a race on demand."""

    def __init__(self, parties: int) -> None:
        self._left = parties
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(parties)

    def meet(self, timeout_s: float) -> None:
        """Wait for the others if this call is one of the expected. Give up quietly after `timeout_s`."""
        with self._lock:
            if self._left == 0:
                return
            self._left -= 1
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(timeout_s)

    def cancel(self) -> None:
        """Release those who wait, and expect no more calls."""
        with self._lock:
            self._left = 0
        self._barrier.abort()


class SiteState:
    """The conditions, pending faults and counters of a running site. Thread-safe."""

    def __init__(self, conditions: Conditions) -> None:
        self._lock = threading.Lock()
        self._initial = conditions
        self.conditions = conditions
        self._rendezvous: Rendezvous | None = None
        self.theme_revision = int(time.time())  # part of picture addresses; changes when caches are purged
        self._faults: list[Fault] = []
        self._chance = random.Random(0)  # noqa: S311 (the same faults in each run)
        self._calls: Counter[str] = Counter()

    def start_with(self, conditions: Conditions) -> None:
        """Set the conditions of the start, to which `reset` returns."""
        with self._lock:
            self._initial = self.conditions = conditions

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change some conditions by name; raises ValueError for an unknown name or type."""
        known = {field.name: getattr(self._initial, field.name) for field in dataclasses.fields(Conditions)}
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"no condition is named {name}")
            checked[name] = _typed(name, value, known[name])
        with self._lock:
            self.conditions = dataclasses.replace(self.conditions, **checked)

    def reset(self) -> None:
        """Restore the conditions of the start, without faults; the data stays."""
        with self._lock:
            self.conditions = self._initial
            self._faults.clear()
        self.expect(0)

    def expect(self, parties: int) -> None:
        """Let the next `parties` writing calls meet; 0 ends the waiting."""
        with self._lock:
            old, self._rendezvous = self._rendezvous, Rendezvous(parties) if parties else None
        if old is not None:
            old.cancel()

    def meet(self, timeout_s: float) -> None:
        """Wait for the other writing calls, if a test has arranged for them to meet."""
        rendezvous = self._rendezvous
        if rendezvous is not None:
            rendezvous.meet(timeout_s)

    def add_fault(self, fault: Fault) -> None:
        """Queue a fault behind those that are pending."""
        with self._lock:
            self._faults.append(fault)

    def take_fault(self, wsfunction: str) -> Fault | None:
        """Count the call, and return the fault that strikes it."""
        with self._lock:
            self._calls[wsfunction] += 1
            for index, fault in enumerate(self._faults):
                if fault.wsfunction in (None, wsfunction) and self._chance.random() < fault.share:
                    left = dataclasses.replace(fault, calls=fault.calls - 1)
                    self._faults[index : index + 1] = [left] if left.calls > 0 else []
                    return fault
        return None

    def shown(self) -> dict[str, Any]:
        """The control interface's view: conditions, faults, calls by function."""
        with self._lock:
            conditions = dataclasses.asdict(self.conditions)
            conditions["missing_capabilities"] = sorted(self.conditions.missing_capabilities)
            pending = [{"kind": fault.kind.value, "calls": fault.calls} for fault in self._faults]
            return {"conditions": conditions, "faults": pending, "calls": dict(self._calls)}


def _typed(name: str, value: Any, example: object) -> Any:
    if name == "missing_capabilities":
        missing = frozenset(value)
        if not missing <= CAPABILITIES:
            raise ValueError(f"unknown capabilities: {', '.join(sorted(missing - CAPABILITIES))}")
        return missing
    if name.endswith("_s"):
        if value is None and name.endswith("timeout_s"):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError(f"{name} wants a number of seconds")
        return float(value)
    if type(value) is not type(example):
        raise ValueError(f"{name} wants a value of type {type(example).__name__}")
    return value
