"""Everything that the console works with, made once: the site, the CAS server, keys, pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.vault import derive_keys
from schemas.language import Language, spoken
from sesame.login.login import CasLogins
from sesame.login.port import LoginServer
from sesame.operations.acts import Actor, check
from sesame.operations.diagnosis import overview
from sesame.operations.diagnosis.overview import Overview
from sesame.web.console.console_pages import ConsolePages
from sesame.web.kit.signatures import Signing
from sesame.web.kit.site import Site

PREFIX = "/console"
"""Under which all of it is served."""

FRESH_S = 2.0
"""How old an overview may be that is shown: it is made once for all who look, whatever their number."""

LIVE_MAX = 128
"""Live pages that may be open at once, of all operators."""


@dataclass
class ConsoleContext:
    """What the routes work with.

    Args:
        site: what operations need.
        server: the CAS server, whose `service_url` is the console's own.
        logins: by it, with the roles of `console.roles`.
        keys: the vault's, as `read_keys` gives them.
        stopping: set when open pages shall be let go.
    """

    site: Site
    server: LoginServer
    logins: CasLogins
    keys: Sequence[str]
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        settings = self.site.settings
        self.pages = ConsolePages(settings)
        self.signing = Signing(derive_keys(list(self.keys), "console"))
        self.overview = SharedOverview(self.site)
        self.places = threading.BoundedSemaphore(LIVE_MAX)


class SharedOverview:
    """The overview as it was a moment ago, in each language: looked at once for everybody. Thread-safe."""

    def __init__(self, site: Site, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._site = site
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._seen: dict[Language, tuple[float, Overview]] = {}

    def show(self, actor: Actor) -> Overview:
        """It, no older than `FRESH_S`.

        Raises:
            ActRefused: the actor may not see it.
            StoreUnavailable: nobody can.
        """
        check(actor, "overview.show")
        language = spoken()
        with self._turn:
            found = self._seen.get(language)
            if found is None or self._monotonic() - found[0] > FRESH_S:
                found = self._seen[language] = (self._monotonic(), overview.show(self._site, actor))
        return found[1]
