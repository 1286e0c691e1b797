"""What is looked after from time to time, beside the registry: old facts and records, names of others."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pipeline.errors import DependencyDown, Misconfigured, TargetDown
from pipeline.eventlog.port import LogError
from pipeline.store import dead_letters
from sesame.reserving import reserve_names
from sesame.wiring import REGISTRY, Application

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
Trouble = Callable[[str, str], None]


@dataclass
class _Chore:
    name: str
    every_s: float
    do: Callable[[], object]
    next_at: float = 0.0


class Housekeeping:
    """Does each chore when it is due. A chore that fails is told of, and done again at its next time.

    Args:
        consumers: those that this process runs: each has its chores.
        on_trouble: told (chore, what went wrong).
        monotonic: seconds.
    """

    def __init__(
        self,
        application: Application,
        consumers: Collection[str],
        *,
        on_trouble: Trouble,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._application = application
        self._on_trouble = on_trouble
        self._monotonic = monotonic
        self.chores = self._chores_of(consumers)

    def _chores_of(self, consumers: Collection[str]) -> list[_Chore]:
        if REGISTRY not in consumers:
            return []
        settings = self._application.settings
        chores = [
            _Chore("pending facts", MINUTE_S, self._expire_pending),
            _Chore("log retention", HOUR_S, self._prune),
            _Chore("dead letters", HOUR_S, self._prune_letters),
        ]
        # Where this process may not read the directory, `sesame ledger refresh` is a job of another machine.
        if "directory" in settings.targets and settings.directory.has_secret("bind_password"):
            chores.append(_Chore("ledger", HOUR_S, self._reserve))
        return chores

    def run_due(self) -> None:
        """Do what is due."""
        now = self._monotonic()
        for chore in self.chores:
            if now >= chore.next_at:
                chore.next_at = now + chore.every_s
                try:
                    chore.do()
                except (DependencyDown, LogError, TargetDown, Misconfigured) as error:
                    self._on_trouble(chore.name, str(error))
                    chore.next_at = now + min(chore.every_s, MINUTE_S)

    def _expire_pending(self) -> None:
        app = self._application
        with app.database.write() as connection:
            app.registry.expire_pending(connection, app.database.now(connection))

    def _prune(self) -> None:
        self._application.prune_log()

    def _prune_letters(self) -> None:
        app = self._application
        with app.database.write() as connection:
            before = app.database.now(connection) - DAY_S * app.settings.store.resolved_letters_days
            dead_letters.prune(connection, resolved_before=before)

    def _reserve(self) -> None:
        directory = self._application.directory()
        try:
            found = reserve_names(directory, self._application.database)
        finally:
            directory.disconnect()
        if found.conflicts:
            self._on_trouble(
                "ledger", f"{len(found.conflicts)} entries have names of others: sesame ledger refresh"
            )
