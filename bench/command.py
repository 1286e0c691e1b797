"""A measured command of Sésame: its output, duration and peak memory."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from sandbox.demo.machine import sesame_program
from sandbox.demo.program import PARTLY, environment
from sandbox.demo.world import World

_LOOK_EVERY_S: Final = 0.02


@dataclass(frozen=True)
class Run:
    """One command: exit code, output, duration, and peak memory."""

    code: int
    document: Mapping[str, Any]
    seconds: float
    peak_mib: float


def measured(world: World, *words: str | Path) -> Run:
    """Run a command with JSON output.

    Its memory is the kernel's high-water mark (`VmHWM`, proc(5)): that of `wait4` begins with ours. Raises
    RuntimeError: it failed.
    """
    argv = [str(word) for word in (sesame_program(), "--config", world.settings_file, *words)]
    peak_kib = 0
    with TemporaryFile() as out, TemporaryFile() as err:
        begun = time.perf_counter()
        process = subprocess.Popen(argv, stdout=out, stderr=err, env=environment(), cwd=world.private)
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            with suppress(OSError, StopIteration, ValueError):
                lines = status.read_text(encoding="ascii").splitlines()
                peak_kib = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
            time.sleep(_LOOK_EVERY_S)
        seconds = time.perf_counter() - begun
        texts = [_read(file) for file in (out, err)]
    if process.returncode not in (0, PARTLY):
        raise RuntimeError(texts[1])
    return Run(process.returncode, json.loads(texts[0]), seconds, peak_kib / 1024)


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))
