"""Names of this machine's members of consumer groups: the same after a restart.

A member that comes back under its name takes its partitions up again at once, instead of waiting until its
former self is taken for dead. Two that live at once must not share a name: each takes the first number of its
group that no process of this machine has, by a file lock, which the system frees when the process ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pipeline.errors import SesameError
from sesame.settings import folders

MEMBERS_MAX = 256


class TooManyMembers(SesameError):
    """This machine has as many members of one consumer group as there can be partitions: more have nothing to
    do. Run fewer processes, or workers."""


class GroupMembers:
    """Hands out names, and keeps them until the process ends.

    `folder`: where the locks are; on a local disk, shared by this machine's processes.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = folder
        self._host = host
        self._held: dict[tuple[str, int], tuple[str, int]] = {}  # (group, worker) to name and open file

    def name(self, group: str, worker: int = 1) -> str:
        """The name of this process's member `worker` of a group, always the same. Raises `TooManyMembers`."""
        if (group, worker) not in self._held:
            self._held[group, worker] = self._claim(group)
        return self._held[group, worker][0]

    def _claim(self, group: str) -> tuple[str, int]:
        folders.make(self._folder)
        for number in range(1, MEMBERS_MAX + 1):
            file = os.open(self._folder / f"{group}.{number}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
            else:
                return (self._host if number == 1 else f"{self._host}-{number}"), file
        raise TooManyMembers

    def close(self) -> None:
        """Give every name back."""
        for _, file in self._held.values():
            os.close(file)
        self._held.clear()
