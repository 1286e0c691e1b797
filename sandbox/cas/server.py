"""Start and steer the CAS server, a separate process, from a test or a demo."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Self

from sandbox.cas.config import CasDirectory, Config, Service
from sandbox.ports import free_port
from sandbox.process import ManagedProcess
from sandbox.server import Server
from sandbox.tls import ThrowawayCA

_ROOT = Path(__file__).resolve().parents[2]


class CasServer(Server):
    """One CAS server. Nothing runs before `start` (or `with`).

    `port`, certificate, tickets and sessions stay the same from one start to the next.

    Args:
        directory: of the people.
        services: those that may send people here.
        folder: where everything lives (default: a new temporary folder, removed by `close`).
        logout_ca_file: verifies the services when the server notifies them of a logout; None: the system's
            certificates.
        forgotten_url: where the login page sends people without a password; empty: nowhere.
        keep_running: leave the server up when the interpreter exits.
    """

    def __init__(
        self,
        directory: CasDirectory,
        services: Sequence[Service],
        folder: Path | None = None,
        *,
        logout_ca_file: Path | None = None,
        forgotten_url: str = "",
        keep_running: bool = False,
    ) -> None:
        self.directory = directory
        self._forgotten_url = forgotten_url
        self._services = tuple(services)
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="cas-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.port = self._kept_port()
        self.ca_file = self.folder / "tls" / "ca.pem"
        self._logout_ca_file = logout_ca_file
        self._process = self._program(keep_running=keep_running)

    @property
    def url(self) -> str:
        """The server's address, with the final slash that CAS clients need."""
        return f"https://127.0.0.1:{self.port}/cas/"

    def start(self) -> Self:
        """Start, and return once the login page is shown. Raises `sandbox.process.StartFailed`."""
        if not self.ca_file.exists():
            self.ca_file.parent.mkdir()
            ThrowawayCA(self.ca_file.parent).issue("server")
        self._prepare()
        return super().start()

    def serve(self, *services: Service) -> None:
        """Let these services send people here, and no others; restart a running server."""
        self._services = services
        if self.running:
            self.stop()
            self.start()

    # --- what another program does otherwise ---

    def _program(self, *, keep_running: bool) -> ManagedProcess:
        trusted = self._logout_ca_file
        return ManagedProcess(
            "the CAS server",
            [sys.executable, "-m", "sandbox.cas", self._config_file],
            log_file=self.folder / "cas.log",
            ready=self._answers,
            env={**os.environ, **({"REQUESTS_CA_BUNDLE": str(trusted)} if trusted is not None else {})},
            cwd=_ROOT,
            outlives_parent=keep_running,
        )

    def _prepare(self) -> None:
        """Write what the process reads at its start."""
        key = self.folder / "secret-key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_urlsafe(48), encoding="ascii")
        config = Config(str(self.folder), self.port, self.directory, self._services, self._forgotten_url)
        config.write(self._config_file)

    @property
    def _config_file(self) -> Path:
        return self.folder / "config.json"

    # ---

    def _answers(self) -> bool:
        tls = ssl.create_default_context(cafile=str(self.ca_file))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )
        with opener.open(f"{self.url}login", timeout=10.0) as answer:
            return bool(answer.status == HTTPStatus.OK)

    def _kept_port(self) -> int:
        state = self.folder / "port.json"
        if not state.exists():
            state.write_text(json.dumps(free_port()), encoding="ascii")
        return int(json.loads(state.read_text(encoding="ascii")))
