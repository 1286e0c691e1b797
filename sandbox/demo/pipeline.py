"""Sésame's own processes in a demo: `sesame run`, or some for each consumer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

from sandbox.demo.machine import sesame_program
from sandbox.demo.program import environment
from sandbox.ports import free_port
from sandbox.process import PATIENCE_S, ManagedProcess

RUN, SERVE = "sesame run", "sesame serve"


class SesameProcess(ManagedProcess):
    """A `sesame` process that runs until stopped, ready when its port answers so.

    Args:
        settings_file: for `--config`; it runs in that file's folder.
        arguments: `run`, `serve`, or `consume NAME…`.
        port: of its metrics and health; default: a free one.
        log_file: default: a new one in that folder.
        outlives_parent: whether it stays when the interpreter ends.
    """

    def __init__(
        self,
        settings_file: Path,
        *arguments: str,
        port: int | None = None,
        log_file: Path | None = None,
        outlives_parent: bool = False,
    ) -> None:
        self.port = port or free_port()
        folder = settings_file.parent
        super().__init__(
            f"sesame {' '.join(arguments)}",
            [sesame_program(), "--config", settings_file, *arguments],
            log_file=log_file or folder / f"{'-'.join(arguments)}-{self.port}.log",
            ready=self._is_ready,
            env={**environment(), "SESAME_HTTP__PORT": str(self.port)},
            cwd=folder,
            stop_timeout_s=30.0,
            outlives_parent=outlives_parent,
        )

    def get(self, path: str) -> str:
        """The answer of its port."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE_S) as answer:
            if answer.status != HTTPStatus.OK:
                raise OSError(answer.status)
            return str(answer.read().decode())

    def log_lines(self) -> list[dict[str, object]]:
        """Its log, parsed."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _is_ready(self) -> bool:
        self.get("/readyz")
        return True


class Pipeline:
    """Processes that work together. `parts`: by their names."""

    def __init__(self, parts: Mapping[str, SesameProcess]) -> None:
        self.parts = dict(parts)

    @classmethod
    def whole(cls, settings_file: Path, port: int, *, keep: bool) -> Pipeline:
        """One process: `sesame run`."""
        log_file = settings_file.parent / "run.log"
        run = SesameProcess(settings_file, "run", port=port, log_file=log_file, outlives_parent=keep)
        return cls({RUN: run})

    @classmethod
    def apart(
        cls, settings_file: Path, port: int, consumers: Iterable[str], each: int, *, keep: bool
    ) -> Pipeline:
        """So many `sesame consume NAME` for each consumer, and `sesame serve` on the port."""
        parts = {
            f"{name} {number}": SesameProcess(settings_file, "consume", name, outlives_parent=keep)
            for name in consumers
            for number in range(1, each + 1)
        }
        return cls({**parts, SERVE: SesameProcess(settings_file, "serve", port=port, outlives_parent=keep)})

    @property
    def running(self) -> bool:
        """Whether all of them run."""
        return all(part.running for part in self.parts.values())

    @property
    def log_files(self) -> list[Path]:
        """The logs of those that were started."""
        return [part.log_file for part in self.parts.values() if part.log_file.exists()]

    def start(self) -> None:
        """Start those that do not run, all at once; return when each is ready."""
        self._each(SesameProcess.start)

    def stop(self) -> None:
        """End all politely."""
        self._each(SesameProcess.stop)

    def kill(self) -> None:
        """End all at once, as a crash would."""
        self._each(SesameProcess.kill)

    def log_tail(self, lines: int = 20) -> str:
        """The end of the log of one that does not run, or of the first."""
        parts = sorted(self.parts.values(), key=lambda part: part.running)
        return parts[0].log_tail(lines)

    def _each(self, act: Callable[[SesameProcess], None]) -> None:
        with ThreadPoolExecutor(len(self.parts)) as pool:
            list(pool.map(act, self.parts.values()))
