"""Group commit, as databases do it: one flush or round trip serves everybody who waits for one.

Whoever comes while nobody commits leads: it commits for all who wait, itself included. Whoever comes
meanwhile waits, and the first of these leads next. The busier the worker, the larger the groups.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence, Sized
from typing import Generic, TypeVar

from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogError

SIZE_MAX = 1_000  # students; a transaction of more would keep others from the store for too long
Item = TypeVar("Item", bound=Sized)


class _Member(Generic[Item]):
    """One that is to be committed. `woken`: it leads now, or it is done."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = threading.Event()
        self.done = False
        self.error: Exception | None = None


class GroupCommit(Generic[Item]):
    """Commits items of several threads together. Thread-safe.

    A failure of the store or the log is everybody's. After any other error each item is tried alone, so that
    the others do not suffer for the one that is the cause.

    Args:
        work: commits these, at least one.
        linger: called before a group is closed; returns when nobody else is about to come.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], None],
        *,
        linger: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._linger = linger
        self._lock = threading.Lock()
        self._waiting: deque[_Member[Item]] = deque()
        self._led = False  # somebody commits, or is about to

    def commit(self, item: Item) -> None:
        """Return once the item is committed.

        Raises:
            Exception: the work's.
        """
        member = _Member(item)
        with self._lock:
            self._waiting.append(member)
            leads, self._led = not self._led, True
        if not leads:
            member.woken.wait()
        if not member.done:
            self._lead()
        if member.error is not None:
            raise member.error

    def _lead(self) -> None:
        """Commit a group; whoever leads is the first in it."""
        self._linger()
        with self._lock:
            group = self._closed_group()
        self._commit(group)
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._led = heir is not None
        for member in group:
            member.done = True
            member.woken.set()
        if heir is not None:
            heir.woken.set()

    def _closed_group(self) -> list[_Member[Item]]:
        group: list[_Member[Item]] = []
        size = 0
        while self._waiting and size < SIZE_MAX:
            group.append(self._waiting.popleft())
            size += len(group[-1].item)
        return group

    def _commit(self, group: Sequence[_Member[Item]]) -> None:
        try:
            self._work([member.item for member in group])
        except Exception as error:  # noqa: BLE001  # each is told
            if len(group) > 1 and not isinstance(error, DependencyDown | LogError):
                for member in group:
                    self._commit([member])
                return
            for member in group:
                member.error = error
