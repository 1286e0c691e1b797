"""The life of a server that is one process: what every such server of the sandbox has."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.process import ManagedProcess


class Server:
    """A server that a test or a demo starts, steers and ends. Nothing runs before `start` (or `with`).

    A subclass sets what follows, and prepares its folder before it starts. Data and ports stay the same from
    one start to the next.

    Attributes:
        folder: where everything of the server lives.
        _process: its process.
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

    def start(self) -> Self:
        """Start, and return once it answers; raises `sandbox.process.StartFailed`."""
        self._process.start()
        return self

    def stop(self) -> None:
        """End it politely; data and ports stay."""
        self._process.stop()

    def kill(self) -> None:
        """End it and its children at once (SIGKILL), as a crash would; data and ports stay."""
        self._process.kill()

    def restart(self) -> None:
        """Stop, then start on the same data and ports."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered until `resume`."""
        self._process.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
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
