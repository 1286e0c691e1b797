"""The life of a sandbox server that is one process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sandbox.ports import free_port
from sandbox.process import ManagedProcess, accepts_tcp
from sandbox.tls import Certificate

CONTROL: Final = "/_control"
"""Path of a stand-in's control interface."""

_CONTROL_TIMEOUT_S: Final = 60.0
_ROOT: Final = Path(__file__).resolve().parents[1]


class Server:
    """A server that a test or a demo starts, steers and ends. Nothing runs before `start` (or `with`).

    A subclass sets the attributes, and prepares its folder before the start. Data and ports stay the same
    from one start to the next.

    Attributes:
        folder: where everything of the server lives.
        _temporary: whether the folder is removed by `close`.
    """

    folder: Path
    _process: ManagedProcess
    _temporary = False

    @property
    def running(self) -> bool:
        """Whether the server runs (it may still be paused)."""
        return self._process.running

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, else None."""
        return self._process.pid

    def processor_s(self) -> float:
        """See `ManagedProcess.processor_s`."""
        return self._process.processor_s()

    def start(self) -> Self:
        """Start, and return once it answers; raises `sandbox.process.StartFailed`."""
        self._process.start()
        return self

    def stop(self) -> None:
        """End it politely; data and ports stay."""
        self._process.stop()

    def kill(self) -> None:
        """End it and its children at once (SIGKILL), as a crash would. Data and ports stay."""
        self._process.kill()

    def restart(self) -> None:
        """Stop, then start on the same data and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered until `resume`."""
        self._process.pause()

    def resume(self) -> None:
        """Resume a paused server."""
        self._process.resume()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        return self._process.log_tail(lines)

    def close(self) -> None:
        """Stop, and remove the folder if it was a temporary one."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WebService(Server):
    """A service on `sandbox.http_server`, with its data in `folder`.

    With `certificate` it speaks HTTPS. Its subclass names the process by `_runs`.
    """

    def __init__(self, folder: Path, *, certificate: Certificate | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._certificate = certificate

    @property
    def origin(self) -> str:
        """Its scheme, host and port."""
        return f"{'http' if self._certificate is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """Verifies its certificate, if it speaks HTTPS."""
        assert self._certificate is not None  # noqa: S101
        return self._certificate.ca_file

    def _runs(
        self,
        module: str,
        *arguments: str,
        name: str,
        outlives_parent: bool,
        ready: Callable[[], bool] | None = None,
    ) -> ManagedProcess:
        """The process of this sandbox module, not started yet. By default ready once it takes connections."""
        program = [sys.executable, "-m", f"sandbox.{module}", "--port", str(self.port)]
        program += ["--folder", str(self.folder), *arguments]
        if self._certificate is not None:
            program += ["--certificate", str(self._certificate.cert_file)]
            program += ["--key", str(self._certificate.key_file)]
        return ManagedProcess(
            name,
            program,
            log_file=self.folder / f"{module}.log",
            ready=ready or (lambda: accepts_tcp(self.port)),
            cwd=_ROOT,
            outlives_parent=outlives_parent,
        )


class Control:
    """Client of a stand-in's control interface, at `/_control` with a key of its own.

    `ca_file` verifies its certificate, if it speaks HTTPS.
    """

    def __init__(self, origin: str, key_file: Path, ca_file: Path | None = None) -> None:
        self._url = origin + CONTROL
        self._key_file = key_file
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca_file is not None:
            trust = ssl.create_default_context(cafile=str(ca_file))
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, **wish: Any) -> dict[str, Any]:
        """Send a wish; return the state after it."""
        state: dict[str, Any] = json.loads(self._answer(json.dumps(wish).encode()))
        return state

    def is_ready(self) -> bool:
        """Whether it answers. Another server on the port would refuse the key."""
        return bool(self._answer(None))

    def _answer(self, body: bytes | None) -> bytes:
        key = self._key_file.read_text(encoding="utf-8")
        request = urllib.request.Request(  # noqa: S310  (the address is ours)
            self._url, data=body, headers={"X-Control-Key": key}
        )
        with self._opener.open(request, timeout=_CONTROL_TIMEOUT_S) as reply:
            return bytes(reply.read())


def secret_file(path: Path, *, size: int = 32) -> Path:
    """The file, with a fresh secret of so many bytes if new, for its owner only."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(size))
    return path
