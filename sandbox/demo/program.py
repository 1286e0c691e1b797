"""Sésame's command line, run as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.demo.machine import sesame_program
from sandbox.process import SandboxError

DONE, PARTLY = 0, 3
_UNWANTED = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class CommandFailed(SandboxError):
    """A command of Sésame ended otherwise than it should; the message has its own last words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. `code` is its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its standard output, read as JSON."""
        return json.loads(self.out)


class Sesame:
    """The `sesame` command with one settings file."""

    def __init__(self, settings_file: Path, *, cwd: Path) -> None:
        self.settings_file = settings_file
        self._cwd = cwd

    def run(self, *words: str | Path, allowed: Sequence[int] = (DONE,), timeout_s: float = 600.0) -> Answer:
        """Run a command to its end.

        Raises:
            CommandFailed: its exit code is none of `allowed`, or it took longer than `timeout_s`.
        """
        argv = [str(word) for word in (sesame_program(), "--config", self.settings_file, *words)]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                env=environment(),
                cwd=self._cwd,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise CommandFailed(f"{self.shown(*words)} took longer than {timeout_s:g} s") from late
        if done.returncode not in allowed:
            said = (done.stderr.strip() or done.stdout.strip())[-4000:]
            raise CommandFailed(f"{self.shown(*words)} ended with status {done.returncode}:\n{said}")
        return Answer(done.returncode, done.stdout, done.stderr)

    def overview(self, *, people: bool = False) -> dict[str, Any]:
        """What `sesame overview --json` says."""
        answer: dict[str, Any] = self.run("overview", "--json", *(["--students"] if people else [])).json()
        return answer

    @staticmethod
    def shown(*words: str | Path) -> str:
        """The command as a reader would type it."""
        return " ".join(["sesame", *map(str, words)])


def environment() -> dict[str, str]:
    """This process's environment without what would change Sésame's settings or lead it through a proxy."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("SESAME_") and name.lower() not in _UNWANTED
    }
