"""The console's dependencies, made once: the site, the CAS server, keys, pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import structlog

from pipeline.errors import DependencyDown, fault
from pipeline.vault import derive_keys
from schemas.language import LANGUAGES, Language, spoken
from sesame.acts.acts import Actor, Role, check
from sesame.login.login import CasLogins
from sesame.login.port import LoginServer
from sesame.operations.imports.acts import ImportStop
from sesame.operations.people.diagnosis import overview, students
from sesame.operations.work.forecast import acts as forecast_acts
from sesame.web.console.console_pages import ConsolePages
from sesame.web.console.kept_files import KeptFiles
from sesame.web.kit.languages import speak_for
from sesame.web.kit.signatures import Signing
from sesame.web.kit.site import Site

_Seen = TypeVar("_Seen")

PREFIX = "/console"
"""The path of all its pages."""

FRESH_S = 2.0
"""How old a shown shared report may be: it is built once for all readers."""

RESTED: Final = 5.0
"""A slow report may be so many times as old as it takes to build: builds take a sixth of the time."""

GLANCE_S: Final = 30.0
"""How old the numbers of the navigation may be: no page waits for them."""

QUICK_S: Final = 0.1
"""Below this, build reports on request; above it, serve the last one: see `keep`."""

KEPT_S: Final = 60.0
"""How often a slow report is built without a request, so that a visitor finds one."""


class RunningImport(Protocol):
    """An import of this process that has not ended. `done`: steps, of `of`; None: not known yet."""

    name: str
    stop: ImportStop
    done: int
    of: int | None


LIVE_MAX = 128
"""Limit of open live pages, of all operators."""

_KEEPER: Final = Actor("sesame", frozenset({Role.VIEWER, Role.SUPPORT}))


@dataclass
class ConsoleContext:
    """The routes' dependencies.

    Args:
        server: the CAS server, whose `service_url` is the console's own.
        logins: by it, with the roles of `console.roles`.
        keys: the vault's, as `read_keys` gives them.
        stopping: set to close open pages.
        imports: those that pages of this process have started, by an unguessable name.
    """

    site: Site
    server: LoginServer
    logins: CasLogins
    keys: Sequence[str]
    stopping: threading.Event = field(default_factory=threading.Event)
    imports: dict[str, RunningImport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.site.settings
        self.pages = ConsolePages(settings)
        self.signing = Signing(derive_keys(list(self.keys), "console"))
        self.secure = settings.console.secure
        self.browser_cookie = "console-navigateur"  # a browser does not keep cookies apart by port
        self.overview = SharedReport(self.site, "overview.show", overview.show)
        self.forecast = SharedReport(self.site, "forecast.show", forecast_acts.show)
        self.cohorts = SharedReport(self.site, "students.cohorts", students.waiting_by_cohort)
        self.kept = KeptFiles(settings.data_dir / "kept-files", self.keys)
        self.places = threading.BoundedSemaphore(LIVE_MAX)


class SharedReport(Generic[_Seen]):
    """A report over all students, built once for all readers, in each language. Thread-safe.

    `name`: of the act; `act`: builds the report.
    """

    def __init__(
        self,
        site: Site,
        name: str,
        act: Callable[[Site, Actor], _Seen],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._name = name
        self._act = act
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._seen: dict[Language, tuple[float, float, _Seen]] = {}
        self._kept = False
        self._wanted = threading.Event()

    def show(self, actor: Actor, *, age_s_max: float = FRESH_S) -> _Seen:
        """The report, about as old as `age_s_max` at most.

        While one caller builds it, the others get the one before.

        Raises:
            ActRefused: the actor may not see it.
            StoreUnavailable: it cannot be built.
        """
        check(actor, self._name)
        language = spoken()
        found = self._seen.get(language)
        if found is not None and self._monotonic() - found[0] <= max(age_s_max, RESTED * found[1]):
            return found[2]
        if found is None:
            self._turn.acquire()
        elif self._kept and found[1] > QUICK_S:
            self._wanted.set()
            return found[2]
        elif not self._turn.acquire(blocking=False):
            return found[2]
        try:
            before = self._seen.get(language)
            if before is not None and before is not found:
                return before[2]  # another caller has built it meanwhile
            return self._look(language, actor)
        finally:
            self._turn.release()

    def keep(self, stopping: threading.Event) -> None:
        """Keep a report ready until `stopping` is set.

        One is built at the start; a slow one also whenever it is wanted, and from time to time.
        """
        self._kept = True
        due = 0.0
        while not stopping.is_set():
            if self._wanted.is_set() or self._monotonic() >= due:
                self._wanted.clear()
                try:
                    self._look_again()
                except DependencyDown:
                    pass  # pages show it
                except Exception as error:  # noqa: BLE001 (it is kept all the same)
                    structlog.get_logger().error("shared_report_fault", error=fault(error))
                due = self._monotonic() + KEPT_S
            stopping.wait(1.0)

    def _look_again(self) -> None:
        slow = [language for language, (_, took_s, _) in dict(self._seen).items() if took_s > QUICK_S]
        for language in slow if self._seen else LANGUAGES[:1]:
            speak_for(language)
            with self._turn:
                self._look(language, _KEEPER)

    def _look(self, language: Language, actor: Actor) -> _Seen:
        begun = self._monotonic()
        seen = self._act(self._site, actor)
        now = self._monotonic()
        self._seen[language] = (now, now - begun, seen)
        return seen
