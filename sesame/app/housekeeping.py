"""Periodic chores next to the registry: old facts and records, reserved names."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from consumers.directory import NAME as DIRECTORY
from consumers.propagation import times
from consumers.registry.erasure.privacy_key import PrivacyKeyError
from pipeline import vault
from pipeline.errors import DependencyDown, Misconfigured, TargetDown
from pipeline.eventlog.port import LogError
from sesame.app import retention
from sesame.app.wiring import REGISTRY, Application
from sesame.operations.identities.name_reservation import reserve_names
from sesame.operations.keeping.audit_archive import archive
from sesame.operations.privacy.erasure import advance
from sesame.operations.work.forecast.acts import keep_promise
from sesame.settings.folders import FolderUnusable

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
ERASURES_EVERY_S = 1.0  # a person may be waiting
Trouble = Callable[[str, str], None]


@dataclass
class _Chore:
    name: str
    every_s: float
    do: Callable[[], object]
    next_at: float = 0.0


class Housekeeping:
    """Runs each chore of these consumers when due. A failed one is reported, and repeated within a minute.

    `on_trouble`: called with (chore, what went wrong).
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
        application, settings = self._application, self._application.settings
        chores = [
            _Chore("pending facts", MINUTE_S, self._expire_pending),
            _Chore("vault", MINUTE_S, self._expire_secrets),
            _Chore("log retention", HOUR_S, application.prune_log),
            _Chore("retention", DAY_S, self._prune_store),
            _Chore("forecast", MINUTE_S, lambda: keep_promise(application)),
            _Chore("times", HOUR_S, self._fold_times),
            _Chore("erasures", ERASURES_EVERY_S, lambda: advance(application, retention=False)),
            _Chore("retention of persons", 10 * MINUTE_S, lambda: advance(application, retention=True)),
        ]
        # Where this process may not read the directory, `sesame ledger refresh` is a job of another machine.
        if DIRECTORY in settings.targets and settings.directory.has_secret("bind_password"):
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
                except (
                    DependencyDown,
                    LogError,
                    TargetDown,
                    Misconfigured,
                    FolderUnusable,
                    PrivacyKeyError,
                    OSError,
                ) as error:
                    self._on_trouble(chore.name, str(error))
                    chore.next_at = now + min(chore.every_s, MINUTE_S)

    def _expire_pending(self) -> None:
        app = self._application
        with app.database.write() as connection:
            app.registry.expire_pending(connection, app.database.now(connection))

    def _expire_secrets(self) -> None:
        database = self._application.database
        with database.write() as connection:
            vault.expire(connection, database.now(connection))
        self._application.vault.tend_kept()

    def _fold_times(self) -> None:
        database = self._application.database
        with database.write() as connection:
            times.fold(connection, database, database.now(connection))

    def _prune_store(self) -> None:
        """Remove expired rows, a bounded number a transaction, until none is left."""
        app, store = self._application, self._application.settings.store
        with app.database.read() as connection:
            now = app.database.now(connection)
        history_before, audit_before = now - DAY_S * store.history_days, now - DAY_S * store.audit_days
        while True:
            with app.database.write() as connection:
                if not retention.prune(
                    connection, now=now, history_before=history_before, audit_before=audit_before
                ):
                    break
        while archive(app.database, app.audit_folder, before=audit_before):
            pass

    def _reserve(self) -> None:
        with self._application.directory() as directory:
            found = reserve_names(directory.objects(), self._application.database)
        if found.conflicts:
            self._on_trouble(
                "ledger", f"{len(found.conflicts)} entries have names of others: sesame ledger refresh"
            )
