"""What stands still while a command of the corpus runs, so that it says the same on every machine.

The time and its zone, the terminal's width, what `secrets` draws, the names of the host and of the user, the
free disk.
"""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import time_machine

NOW = 1_795_747_200.0
"""The time of every command, in epoch seconds: some minutes after the store was filled."""

T = TypeVar("T")

_UNWANTED = re.compile(
    "SESAME_.*|LANG|LANGUAGE|LC_.*|NO_COLOR|.*FORCE_COLOR|CLICOLOR.*|TERM|LINES|TTY_.*|JUPYTER_.*|SUDO_UID|.*_proxy",
    re.IGNORECASE,
)


@contextmanager
def standing_still(folder: Path) -> Iterator[None]:
    """Run commands in this folder."""
    with _as_they_were(), pytest.MonkeyPatch.context() as fixed:
        for name in [name for name in os.environ if _UNWANTED.fullmatch(name)]:
            fixed.delenv(name)
        fixed.setenv("COLUMNS", "100")
        if not (folder / "sesame.toml").exists():
            fixed.setenv("SESAME_DATA_DIR", "data")  # never the machine's own
        fixed.setenv("TZ", "CET-1")  # the whole year one hour ahead of UTC, without a table of zones
        fixed.chdir(folder)
        fixed.setattr(sys, "argv", ["sesame"])
        fixed.setattr(pwd, "getpwuid", lambda _uid: SimpleNamespace(pw_name="camille"))
        fixed.setattr(os, "getuid", _login_number)
        fixed.setattr(socket, "gethostname", lambda: "srv1")
        fixed.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=50 * 10**9))
        for name, draw in _drawing().items():
            fixed.setattr(secrets, name, draw)
        time.tzset()
        with time_machine.travel(NOW, tick=False):
            yield


@contextmanager
def _as_they_were() -> Iterator[None]:
    """Signals and time zone are left as they are found, once the environment is what it was."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        time.tzset()
        for number, handler in signals.items():
            signal.signal(number, handler)


def _login_number() -> int:
    """Whoever logged in is who runs this: nobody has become another user."""
    try:
        return int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except OSError:  # a kernel that does not keep it
        return os.geteuid()


def _drawing() -> dict[str, Any]:
    """The functions of `secrets`, which draw the same each time; a draw of one length moves no other."""
    drawn: Counter[tuple[str, int]] = Counter()

    def draw(what: str, size: int) -> bytes:
        drawn[what, size] += 1
        return hashlib.shake_128(f"{what} {size} {drawn[what, size]}".encode()).digest(size)

    def token_urlsafe(size: int = 32) -> str:
        return base64.urlsafe_b64encode(draw("urlsafe", size)).rstrip(b"=").decode()

    def randbelow(below: int) -> int:
        return int.from_bytes(draw("below", 16)) % below

    def choice(among: Sequence[T]) -> T:
        return among[randbelow(len(among))]

    return {
        "token_bytes": lambda size=32: draw("bytes", size),
        "token_hex": lambda size=32: draw("hex", size).hex(),
        "token_urlsafe": token_urlsafe,
        "randbelow": randbelow,
        "choice": choice,
    }
