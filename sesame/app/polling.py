"""Polls Pégase, in one process of those that run the registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

from pipeline.errors import DependencyDown, SesameError
from producers.registrar.import_subject import ImportInterrupted
from producers.registrar.pegase import polls
from sesame.acts.acts import Actor, Role
from sesame.app.wiring import Application, utc_now
from sesame.operations.imports.polls import EVERY_S, FEED, LiveFeed

_CLAIM_EVERY_S: Final = 5.0
_ACTOR: Final = Actor("pegase", frozenset({Role.REGISTRAR}))


class Polling:
    """Reads the feed every 30 seconds. `on_trouble` gets (feed, what went wrong).

    Raises:
        SettingsError: where Pégase is cannot be read.
    """

    def __init__(self, application: Application, *, on_trouble: Callable[[str, str], None]) -> None:
        self._application = application
        self._on_trouble = on_trouble
        self._claimed_at = 0.0
        application.settings.pegase.instance()  # settings that cannot work are met now

    def run(self, stopping: threading.Event) -> None:
        """Poll until `stopping` is set."""

        def heed() -> None:
            if stopping.is_set():
                raise ImportInterrupted
            if time.monotonic() > self._claimed_at + _CLAIM_EVERY_S:
                self._claim()

        with closing(LiveFeed(self._application, clock=utc_now, heed=heed)) as feed:
            while not stopping.is_set():
                self._look(feed)
                stopping.wait(EVERY_S)
        with suppress(DependencyDown), self._application.database.write() as connection:
            polls.release(connection, FEED, self._application.life.owner)

    def _look(self, feed: LiveFeed) -> None:
        try:
            if not self._claim():
                return
            report = feed.poll(_ACTOR)
            trouble = f"{report.held} enrolments are held: {report.approval}" if report.held else ""
        except ImportInterrupted:
            return
        except SesameError as error:
            trouble = str(error)
        if trouble:
            self._on_trouble(FEED, trouble)
            self._record(trouble)

    def _claim(self) -> bool:
        app = self._application
        self._claimed_at = time.monotonic()
        with app.database.write() as connection:
            return polls.claim(connection, app.database, FEED, app.life.owner)

    def _record(self, trouble: str) -> None:
        with suppress(DependencyDown), self._application.database.write() as connection:
            polls.fail(connection, FEED, trouble)
