"""The event log's adapters, as the conformance suite meets them: each by a URL that any process can open.

To put another adapter to the suite: a class with these members, a line in `open_log`, a line in `ADAPTERS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pipeline.eventlog.port import EventLog
from pipeline.eventlog.sqlite import SqliteEventLog

SESSION_TIMEOUT_S = 2.0  # short, so that a test can outwait it; a busy machine must not reach it by itself


class Adapter(Protocol):
    """One adapter, ready to be used."""

    url: str
    """Opens the log, in this process and in others."""

    def stop(self) -> None:
        """End what it started."""


class Sqlite:
    """The embedded log, on a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:{folder / 'log.db'}"

    def stop(self) -> None:
        """Nothing runs."""


ADAPTERS = {"sqlite": Sqlite}


def open_log(url: str) -> EventLog:
    """The log that `url` names, with a short session time-out."""
    kind, _, place = url.partition(":")
    if kind == "sqlite":
        return SqliteEventLog(Path(place), session_timeout_s=SESSION_TIMEOUT_S, busy_timeout_s=30)
    raise ValueError(f"no adapter of this name: {kind}")
