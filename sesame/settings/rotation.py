"""Secrets that change while a process runs: reread a file after it has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

from pipeline.settings import FILE_SUFFIX, SecretUnreadable, Section

_SETTLED_S: Final = 1.0
"""A file that was changed more recently than this may still be being written: it is not taken yet."""

_Stamp = tuple[int, int, int]


class LiveSecret:
    """One secret of a running process, asked for at each use. Safe to share between threads.

    A file that is unreadable, empty, open to others or possibly half written is not taken: the secret read
    last stays in use, and the log says so once. A secret that is in no file stays as it was at the start.
    """

    def __init__(self, section: Section, name: str, *, clock: Callable[[], float] = time.time) -> None:
        """Read the secret; there is no earlier one to keep: raises `SecretUnreadable`."""
        self._section = section
        self._name = name
        self._clock = clock
        self._lock = Lock()
        self._path: Path | None = getattr(section, name + FILE_SUFFIX)
        self._stamp = self._stamp_now()
        self._value = section.secret(name).get_secret_value()
        self._read_at = clock()
        self._not_taken = ""

    def __call__(self) -> str:
        """The secret, from its file if that has changed."""
        with self._lock:
            stamp = self._stamp_now()
            if stamp != self._stamp and self._settled(stamp):
                self._take(stamp)
            return self._value

    @property
    def told(self) -> str:
        """The secret's name and the time of its reading, for operators."""
        key = f"{self._section.place}.{self._name}"
        if self._path is None:
            return f"the secret {key}, which is in no file: a change of it needs a restart"
        read_at = datetime.fromtimestamp(self._read_at).astimezone().isoformat(timespec="seconds")
        kept = f" (kept, because what the file holds now cannot be used: {self._not_taken})"
        return f"the secret of {key}{FILE_SUFFIX} that was read at {read_at}{kept if self._not_taken else ''}"

    def _stamp_now(self) -> _Stamp | None:
        """A stamp of the file, its mode and its owner; None: no file, or a missing one."""
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino) if found is not None else None

    def _settled(self, stamp: _Stamp | None) -> bool:
        return stamp is None or not 0 <= self._clock() - stamp[0] / 1e9 < _SETTLED_S

    def _take(self, stamp: _Stamp | None) -> None:
        """Read the changed file, or record why it is not taken."""
        self._stamp = stamp
        try:
            self._value = self._section.secret(self._name).get_secret_value()
        except SecretUnreadable as error:
            self._not_taken = str(error)
            _log().warning("secret_kept", reason=self._not_taken)
            return
        self._read_at, self._not_taken = self._clock(), ""
        _log().info("secret_read_again", reason=f"{self._section.place}.{self._name}{FILE_SUFFIX}")


def _log() -> Any:
    import structlog  # loaded when there is something to say: most commands have nothing

    return structlog.get_logger()
