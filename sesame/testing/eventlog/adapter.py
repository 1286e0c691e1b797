"""An adapter of the event log, as its suite meets it."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Protocol

from pipeline.eventlog.port import EventLog

SESSION_TIMEOUT_S = 2.0
"""An opener's value for each log: tests can outwait it, and load alone does not reach it."""


class Adapter(Protocol):
    """One adapter, ready to be used."""

    opener: str
    """`package.module:function`, which opens the log of a URL, in this process and in others."""

    url: str
    """The log, for this test alone."""

    lives: int
    """How many lives in a row the crash test gives a process, in each of its stories."""

    def stop(self) -> None:
        """End what it started."""


def open_log(adapter: Adapter) -> EventLog:
    opened: EventLog = resolve_name(adapter.opener)(adapter.url)
    return opened
