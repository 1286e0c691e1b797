"""Group commit, as in databases: one flush or round trip serves all that wait.

A caller that arrives while no commit runs leads: it commits for all who are there, itself included. A waiting
caller (`commit`) leads the next group; for those that do not wait (`leave`) the leader continues. The busier
the worker, the larger the groups.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.errors import DependencyDown
from pipeline.eventlog.port import LogError

SIZE_MAX = 1_000  # students; a transaction of more would keep others from the store for too long
Item = TypeVar("Item", bound=Sized)


@dataclass
class _Member(Generic[Item]):
    """An item to commit. `then` gets the result, `leads` wakes its caller to lead (None: none waits)."""

    item: Item
    then: Callable[[Exception | None], None]
    leads: threading.Event | None = None


class GroupCommit(Generic[Item]):
    """Commits items of several threads together. Thread-safe.

    A failure of the store or the log fails the whole group. After any other error each item is tried alone,
    so that only the cause fails.

    Args:
        work: commits these, at least one.
        linger: called before a group is closed; returns when no other item is about to arrive.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], None], *, linger: Callable[[], None] = lambda: None
    ) -> None:
        self._work = work
        self._linger = linger
        self._lock = threading.Lock()
        self._waiting: deque[_Member[Item]] = deque()
        self._led = False  # a leader commits, or is about to

    def commit(self, item: Item) -> None:
        """Return once the item is committed; raises the work's error."""
        ended: list[Exception | None] = []
        woken = threading.Event()

        def then(error: Exception | None) -> None:
            ended.append(error)
            woken.set()

        if not self._leads(_Member(item, then, woken)):
            woken.wait()
        if not ended:
            self._lead()
        if ended[0] is not None:
            raise ended[0]

    def leave(self, item: Item, then: Callable[[Exception | None], None]) -> None:
        """Commit the item, or leave it to the leader. `then` gets None or the error, in its thread."""
        if self._leads(_Member(item, then)):
            self._lead()

    def _leads(self, member: _Member[Item]) -> bool:
        with self._lock:
            self._waiting.append(member)
            leads, self._led = not self._led, True
        return leads

    def _lead(self) -> None:
        """Commit the leader's group, and more until a waiting caller can lead."""
        heir: _Member[Item] | None
        while True:
            self._linger()
            with self._lock:
                group = self._closed_group()
            self._commit(group)
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                self._led = heir is not None
            if heir is None:
                return
            if heir.leads is not None:
                heir.leads.set()
                return

    def _closed_group(self) -> list[_Member[Item]]:
        group: list[_Member[Item]] = []
        size = 0
        while self._waiting and size < SIZE_MAX:
            group.append(self._waiting.popleft())
            size += len(group[-1].item)
        return group

    def _commit(self, group: Sequence[_Member[Item]]) -> None:
        failed: Exception | None = None
        try:
            self._work([member.item for member in group])
        except Exception as error:  # noqa: BLE001  # passed to each member
            if len(group) > 1 and not isinstance(error, DependencyDown | LogError):
                for member in group:
                    self._commit([member])
                return
            failed = error
        for member in group:
            member.then(failed)
