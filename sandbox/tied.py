"""Processes that end with whoever started them, however that one ended: a killed test worker too.

The kernel does it (prctl(2), PR_SET_PDEATHSIG); `setpriv` asks it to and then becomes the program. The
signal comes when the *thread* that started the process ends, not only when its whole process does. So one
thread, which lives as long as the interpreter, starts them all.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import AnyStr

_STARTER = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")  # its thread comes with the first use


def tied_command(setpriv: Path, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` as a process that is killed when its parent thread ends.

    The tie is the process's own: its children must notice by themselves that it is gone, as those of Dovecot
    and PostgreSQL do. A program that is set-uid, or that changes its user, loses it.
    """
    return [str(setpriv), "--pdeathsig", "KILL", "--", *argv]


def start_tied(start: Callable[[], subprocess.Popen[AnyStr]]) -> subprocess.Popen[AnyStr]:
    """Call `start` in the thread whose end is the interpreter's end, and return what it returns or raises."""
    return _STARTER.submit(start).result()
