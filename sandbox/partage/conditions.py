"""Partage's troubles: lasting conditions, and faults of the next calls."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Conditions:
    """The state of the service; times in seconds.

    Attributes:
        token_s: a token's lifetime.
        latency_s: before each answer.
        maintenance: names of accounts whose mailbox is being moved.
        taken: addresses that distribution lists and resources hold.
        unseen: names that a search does not find yet: it may query a replica of the directory.
        down: every call is answered 503.
    """

    token_s: float = 300.0
    latency_s: float = 0.0
    maintenance: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    down: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the next calls of `method` (empty: any) about `name` (empty: any).

    Attributes:
        message: answered with status 2; empty: no answer of BSS is given but what follows.
        http: an HTTP status with a page.
        hang_up: the connection is closed without an answer.
        body: sent as it is, with 200.
        after_commit: the call is carried out all the same.
        delay_s: before any answer.
        headers: of an HTTP status.
    """

    message: str = ""
    method: str = ""
    name: str = ""
    calls: int = 1
    http: int = 0
    hang_up: bool = False
    body: str = ""
    after_commit: bool = False
    delay_s: float = 0.0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class State:
    """Conditions, pending faults, and past calls."""

    def __init__(self, conditions: Conditions) -> None:
        self._start = conditions
        self._lock = threading.Lock()
        self._reset = threading.Event()  # of these conditions: another one after each reset
        self._faults: list[Fault] = []
        self.conditions = conditions
        self.calls: list[dict[str, str]] = []

    def reset(self) -> None:
        """Restore the conditions of the start; forget faults and calls."""
        with self._lock:
            self._reset.set()
            self._reset = threading.Event()
            self.conditions = self._start
            self._faults.clear()
            self.calls.clear()

    def waited(self, seconds: float) -> bool:
        """Wait so long; False: everything was reset meanwhile."""
        return not self._reset.wait(seconds) if seconds > 0 else True

    def change(self, wish: Mapping[str, Any]) -> None:
        """Set conditions by name; raises TypeError for an unknown one."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in wish.items()
        }
        with self._lock:
            self.conditions = dataclasses.replace(self.conditions, **values)

    def add(self, fault: Fault) -> None:
        """Add a fault behind those that wait."""
        with self._lock:
            self._faults.append(fault)

    def note(self, method: str, name: str) -> None:
        """Note a call."""
        with self._lock:
            self.calls.append({"method": method, "name": name})

    def fault_of(self, method: str, name: str) -> Fault | None:
        """The fault that strikes this call, and is then used up by one."""
        with self._lock:
            for at, fault in enumerate(self._faults):
                if fault.method in ("", method) and fault.name.lower() in ("", name.lower()):
                    left = dataclasses.replace(fault, calls=fault.calls - 1)
                    self._faults[at : at + 1] = [left] if left.calls > 0 else []
                    return fault
        return None
