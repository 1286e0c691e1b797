"""Sésame's command line as a user runs it: a process, output, exit code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.demo.machine import sesame_program
from sandbox.process import SandboxError, start_tied

DONE, FAILED, PARTLY = 0, 1, 3
_UNWANTED = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class CommandFailed(SandboxError):
    """A command of Sésame ended otherwise than it should; the message has its own last words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's output. `code` is its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its standard output, parsed."""
        return json.loads(self.out)


class Running:
    """A running command. Leaving the `with` ends it."""

    def __init__(self, process: subprocess.Popen[str], shown: str) -> None:
        self._process = process
        self._shown = shown

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def trouble(self) -> str | None:
        """A failed command's trouble; None while it runs, or after success."""
        if self._process.poll() is None:
            return None
        try:
            self.answer()
        except CommandFailed as failed:
            return str(failed)
        return None

    def answer(self, timeout_s: float = 600.0, allowed: Sequence[int] = (DONE,)) -> Answer:
        """Wait for its end and return its answer.

        Raises:
            CommandFailed: its exit code is none of `allowed`, or it took longer than `timeout_s`.
        """
        try:
            out, err = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            raise CommandFailed(f"{self._shown} took longer than {timeout_s:g} s") from late
        code = self._process.returncode
        if code not in allowed:
            said = (err.strip() or out.strip())[-4000:]
            raise CommandFailed(f"{self._shown} ended with status {code}:\n{said}")
        return Answer(code, out, err)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self._process.kill()
        self._process.communicate()


class Sesame:
    """The `sesame` command with one settings file; `cwd` is the folder it runs in."""

    def __init__(self, settings_file: Path, *, cwd: Path) -> None:
        self.settings_file = settings_file
        self._cwd = cwd

    def run(self, *words: str | Path, allowed: Sequence[int] = (DONE,), timeout_s: float = 600.0) -> Answer:
        """Run a command to its end.

        Raises:
            CommandFailed: its exit code is none of `allowed`, or it took longer than `timeout_s`.
        """
        with self.begin(*words) as running:
            return running.answer(timeout_s, allowed)

    def begin(self, *words: str | Path) -> Running:
        """Begin a command; use it in a `with`. It is killed if this process is: it may be about to write."""
        process = start_tied(
            (sesame_program(), "--config", self.settings_file, *words),
            lambda command: subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env=environment(),
                cwd=self._cwd,
            ),
        )
        return Running(process, self.shown(*words))

    def overview(self, *, people: bool = False) -> dict[str, Any]:
        """The document of `sesame overview --json`."""
        answer: dict[str, Any] = self.run("overview", "--json", *(["--students"] if people else [])).json()
        return answer

    @staticmethod
    def shown(*words: str | Path) -> str:
        """The command as a reader would type it."""
        return " ".join(["sesame", *map(str, words)])


def environment() -> dict[str, str]:
    """This process's environment, without Sésame's settings and proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("SESAME_") and name.lower() not in _UNWANTED
    }
