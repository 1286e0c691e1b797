"""Polls Pégase, in one process of those that run the registry."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from typing import Final

from pipeline.errors import DependencyDown, SesameError
from producers.registrar import polls
from producers.registrar.import_subject import ImportInterrupted
from producers.registrar.pegase.client import PegaseRefuses
from sesame.acts.acts import Actor, Role
from sesame.app.reporter import Reporter
from sesame.app.wiring import Application, utc_now
from sesame.operations.imports.polls import EVERY_S, FEED, FeedPollReport, LiveFeed

_SIGN_EVERY_S: Final = 5.0
_ACTOR: Final = Actor("pegase", frozenset({Role.REGISTRAR}))


class Polling:
    """Reads the feed every 30 seconds, and reports what is wrong with it.

    Raises:
        SettingsError: where Pégase is cannot be read.
    """

    def __init__(self, application: Application, reporter: Reporter) -> None:
        self._application = application
        self._reporter = reporter
        self._claimed_at = 0.0
        self._told = ""
        self._trouble: tuple[str, str] | None = None
        application.settings.pegase.instance()  # settings that cannot work are met now

    def run(self, stopping: threading.Event) -> None:
        """Poll until `stopping` is set."""

        def heed() -> None:
            if stopping.is_set():
                raise ImportInterrupted
            if time.monotonic() > self._claimed_at + _SIGN_EVERY_S:
                self._claim()

        with closing(LiveFeed(self._application, clock=utc_now, heed=heed)) as feed:
            while not stopping.is_set():
                due_at = time.monotonic() + EVERY_S
                self._look(feed)
                while not stopping.is_set() and time.monotonic() < due_at:
                    stopping.wait(min(_SIGN_EVERY_S, max(0.0, due_at - time.monotonic())))
                    self._report()
        with suppress(DependencyDown), self._application.database.write() as connection:
            polls.release(connection, FEED, self._application.life.owner)

    def _look(self, feed: LiveFeed) -> None:
        try:
            if not self._claim():
                self._recover()
                return
            report = feed.poll(_ACTOR)
        except ImportInterrupted:
            return
        except SesameError as error:
            refused = isinstance(error, PegaseRefuses)
            self._trouble = "misconfigured" if refused else "retrying", str(error)
            self._report()
        else:
            self._recover()
            self._tell(report)

    def _recover(self) -> None:
        if self._trouble is not None:
            self._reporter.state(FEED, "running", "")
            self._reporter.gone(FEED)
            self._trouble = None

    def _report(self) -> None:
        if self._trouble is not None:
            self._reporter.state(FEED, *self._trouble)

    def _tell(self, report: FeedPollReport) -> None:
        """Log once what is held, and what is not as the contract says."""
        differs = [f"not as the contract says: {each}" for each in sorted(report.differences)]
        held = [f"{report.held} enrolments are held: {report.approval}"] if report.held else []
        told = "; ".join(held + differs)
        if told and told != self._told:
            self._reporter.trouble(FEED, told)
        self._told = told

    def _claim(self) -> bool:
        app = self._application
        self._claimed_at = time.monotonic()
        self._report()
        with app.database.write() as connection:
            return polls.claim(connection, app.database, FEED, app.life.owner)
