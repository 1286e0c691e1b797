"""A demo's web faces: `sesame web` with a personal mail server, and the console.

Both are served by plain HTTP on loopback, so that a browser asks about no certificate.
"""

from __future__ import annotations

import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path

from sandbox.demo.machine import sesame_program
from sandbox.demo.program import environment
from sandbox.ports import free_port
from sandbox.process import ManagedProcess, accepts_tcp
from sandbox.smtp import MailSink

_ROOT = Path(__file__).resolve().parents[2]


class StudentsPages:
    """`mail` keeps messages to personal addresses, `messages` shows them, `web` serves the pages."""

    def __init__(self, folder: Path, settings_file: Path, *, keep: bool) -> None:
        self.port = free_port()
        self.mail = MailSink(folder / "smtp", outlives_parent=keep)
        self.web = _served("web", settings_file, self.url, keep=keep)
        self.messages_port = free_port()
        self.messages = ManagedProcess(
            "the messages' page",
            [
                sys.executable,
                *("-m", "sandbox.smtp.page", "--port", str(self.messages_port)),
                *("--messages", self.mail.folder),
            ],
            log_file=folder / "messages.log",
            ready=lambda: accepts_tcp(self.messages_port),
            cwd=_ROOT,
            outlives_parent=keep,
        )

    @property
    def url(self) -> str:
        """The pages' address."""
        return _on_loopback(self.port)

    @property
    def messages_url(self) -> str:
        """The address of the page that shows the messages."""
        return _on_loopback(self.messages_port)

    def stop(self) -> None:
        """End all three."""
        self.messages.stop()
        self.web.stop()
        self.mail.stop()


class OperatorsConsole:
    """`server` serves the console and the API."""

    def __init__(self, settings_file: Path, *, keep: bool) -> None:
        self.port = free_port()
        self.server = _served("console", settings_file, self.url, keep=keep)

    @property
    def url(self) -> str:
        """The address of both."""
        return _on_loopback(self.port)

    def stop(self) -> None:
        """End it."""
        self.server.stop()


def _on_loopback(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _served(command: str, settings_file: Path, url: str, *, keep: bool) -> ManagedProcess:
    def is_ready() -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/livez", timeout=5.0) as answer:
            return bool(answer.status == HTTPStatus.OK)

    return ManagedProcess(
        f"sesame {command}",
        [sesame_program(), "--config", settings_file, command],
        log_file=settings_file.parent / f"{command}.log",
        ready=is_ready,
        env=environment(),
        cwd=settings_file.parent,
        stop_timeout_s=10.0,
        outlives_parent=keep,
    )
