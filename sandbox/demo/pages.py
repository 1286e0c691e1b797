"""The students' pages in a demo's world: `sesame web`, and the mail server that personal mail is kept by.

The browser comes by plain HTTP on loopback, so that it asks about no certificate.
"""

from __future__ import annotations

import urllib.request
from http import HTTPStatus
from pathlib import Path

from sandbox.demo.machine import sesame_program
from sandbox.demo.program import environment
from sandbox.ports import free_port
from sandbox.process import ManagedProcess
from sandbox.smtp import MailSink


class StudentsPages:
    """Both servers; `mail` keeps what was sent to personal addresses, `web` serves the pages."""

    def __init__(self, folder: Path, settings_file: Path, *, keep: bool) -> None:
        self.port = free_port()
        self.mail = MailSink(folder / "smtp", outlives_parent=keep)
        self.web = ManagedProcess(
            "sesame web",
            [sesame_program(), "--config", settings_file, "web"],
            log_file=settings_file.parent / "web.log",
            ready=self._is_ready,
            env=environment(),
            cwd=settings_file.parent,
            stop_timeout_s=10.0,
            outlives_parent=keep,
        )

    @property
    def url(self) -> str:
        """The pages' address."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End both."""
        self.web.stop()
        self.mail.stop()

    def _is_ready(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/livez", timeout=5.0) as answer:
            return bool(answer.status == HTTPStatus.OK)
