"""Serves the pages: the HTTP server, the postman, the look-out for open pages, housekeeping."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
import uvicorn

from pipeline.errors import DependencyDown, SesameError, fault
from sesame.web.kit.connections import PromptProtocol, listener
from sesame.web.students.app import make_app
from sesame.web.students.portal_context import PortalContext

START_S_MAX: Final = 10.0
TIDY_EVERY_S: Final = 3600.0
RESTART_AFTER_S: Final = 5.0


class PortalPortTaken(SesameError):
    """The students' pages cannot be listened for on this address. Another process has it, or it is not this
    machine's: set `portal.host` and `portal.port`."""


class Server:
    """The portal, until told to stop. Use `start` and `stop`, or `run`."""

    def __init__(self, context: PortalContext) -> None:
        self._desk = context
        self._stopping = threading.Event()
        self._log = structlog.get_logger()
        app = make_app(context, stopping=self._stopping)
        self.watch = app.state.watch
        portal = context.settings.portal
        tls = {
            "ssl_certfile": portal.tls_cert_file,
            "ssl_keyfile": None if portal.tls_key_file is None else str(portal.tls_key_file),
        }
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                access_log=False,  # a link's secret stands in its path
                http=PromptProtocol,
                log_config=None,
                lifespan="off",
                server_header=False,
                proxy_headers=False,  # whom to believe is said by `portal.trusted_proxies`
                timeout_graceful_shutdown=3,
                timeout_keep_alive=15,
                limit_concurrency=context.settings.portal.live_max + 512,
                **tls,  # type: ignore[arg-type]
            )
        )
        self._socket: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises:
            PortalPortTaken: the address cannot be listened on.
        """
        portal = self._desk.settings.portal
        self._socket = listener(
            portal.host,
            portal.port,
            waiting_max=512,
            taken=PortalPortTaken,
            remedy="Set portal.port and portal.host to an address that is free.",
        )
        # Who takes nothing is noticed by the system, which has room for minutes of changes before we would be
        # told (tcp(7)); every connection inherits it.
        stalled_ms_max = int(portal.stalled_s_max * 1000)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_ms_max)
        loops: dict[str, Callable[[], None]] = {
            "postman": lambda: self._desk.postman.run(self._stopping),
            "watch": lambda: self.watch.run(self._stopping, self._desk.counted.trouble),
            "tidy": self._tidy,
        }
        self._threads = [
            threading.Thread(target=self._keep, args=(name, loop), name=name, daemon=True)
            for name, loop in loops.items()
        ]
        self._threads.append(
            threading.Thread(
                target=self._server.run, kwargs={"sockets": [self._socket]}, name="portal", daemon=True
            )
        )
        for thread in self._threads:
            thread.start()
        give_up_at = time.monotonic() + START_S_MAX
        while not self._server.started and self._threads[-1].is_alive() and time.monotonic() < give_up_at:
            time.sleep(0.01)
        self._log.info("portal_listening", host=portal.host, port=self.port)

    def stop(self) -> None:
        """Let open pages go, stop listening, and return."""
        self._stopping.set()
        self.watch.wake_all()
        self._server.should_exit = True
        for thread in self._threads:
            thread.join(timeout=10.0)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def run(self, stopping: threading.Event) -> None:
        """Serve until told to stop.

        Raises:
            PortalPortTaken: as `start`.
        """
        self.start()
        try:
            while not stopping.wait(0.5) and self._threads[-1].is_alive():
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
