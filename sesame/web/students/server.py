"""Serves the pages: HTTP server, mail sender, watch of open pages, housekeeping."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import ASGIApp

from pipeline.errors import DependencyDown, SesameError, fault
from sesame.web.kit.server import Listening, WebServer
from sesame.web.students import live
from sesame.web.students.app import make_app
from sesame.web.students.portal_context import PortalContext

TIDY_EVERY_S: Final = 3600.0
RESTART_AFTER_S: Final = 5.0


class PortalPortTaken(SesameError):
    """The students' pages cannot be listened for on this address. Another process has it, or it is not this
    machine's: set `portal.host` and `portal.port`."""


class Server:
    """The portal, until stopped. Use `start` and `stop`, or `run`.

    `around`: wraps the application for serving.
    """

    def __init__(
        self, context: PortalContext, *, around: Callable[[ASGIApp], ASGIApp] = lambda app: app
    ) -> None:
        self._desk = context
        self._stopping = threading.Event()
        self._log = structlog.get_logger()
        app = make_app(context, stopping=self._stopping)
        self.watch = app.state.watch
        portal = context.settings.portal
        self._web = WebServer(
            "portal",
            around(app),
            Listening(
                host=portal.host,
                port=portal.port,
                tls_cert_file=portal.tls_cert_file,
                tls_key_file=portal.tls_key_file,
                connections_max=live.LIVE_MAX + 512,
                proxies=context.proxies,
                waiting_max=512,
                stalled_s_max=live.STALLED_S_MAX,
                taken=PortalPortTaken,
                remedy="Set portal.port and portal.host to an address that is free.",
            ),
        )
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._web.port

    def start(self) -> None:
        """Listen, and return once requests are answered. Raises `PortalPortTaken`."""
        self._web.start()
        loops: dict[str, Callable[[], None]] = {
            "postman": lambda: self._desk.postman.run(self._stopping),
            "watch": lambda: self.watch.run(self._stopping, self._desk.counted.trouble),
            "tidy": self._tidy,
        }
        self._threads = [
            threading.Thread(target=self._keep, args=(name, loop), name=name, daemon=True)
            for name, loop in loops.items()
        ]
        for thread in self._threads:
            thread.start()
        self._log.info("portal_listening", host=self._desk.settings.portal.host, port=self.port)

    def stop(self) -> None:
        """Let open pages go, stop listening, and return."""
        self._stopping.set()
        self.watch.wake_all()
        self._web.stop()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def run(self, stopping: threading.Event) -> None:
        """Serve until `stopping` is set. Raises `PortalPortTaken`, as `start`."""
        self.start()
        try:
            while not stopping.wait(0.5) and self._web.alive:
                pass
        finally:
            self.stop()

    def _keep(self, name: str, loop: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                loop()
            except Exception as error:  # noqa: BLE001  # no loop may end in silence
                self._log.exception("loop_failed", consumer=name)
                self._desk.counted.trouble(str(error) if isinstance(error, SesameError) else fault(error))
                self._stopping.wait(RESTART_AFTER_S)

    def _tidy(self) -> None:
        while not self._stopping.is_set():
            try:
                self._desk.tidy()
            except DependencyDown as error:
                self._desk.counted.trouble(str(error))
            self._stopping.wait(TIDY_EVERY_S)
