"""Group commit, as databases do it: one flush or round trip serves everybody who waits for one.

Whoever comes while nobody commits leads: it commits for all who are there, itself included. Who waits
(`commit`) leads the next group; for those who do not wait (`leave`) the leader goes on. The busier the
worker, the larger the groups.
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
    """One that is to be committed.

    Attributes:
        then: told how that ended.
        leads: set when it is this one's to lead; None: it does not wait.
    """

    item: Item
    then: Callable[[Exception | None], None]
    leads: threading.Event | None = None


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
        """Commit the item, or leave that to whoever commits now.

        Args:
            item: what is to be committed.
            then: told, in the thread that commits, when it is, or by which error it is not.
        """
        if self._leads(_Member(item, then)):
            self._lead()

    def _leads(self, member: _Member[Item]) -> bool:
        with self._lock:
            self._waiting.append(member)
            leads, self._led = not self._led, True
        return leads

    def _lead(self) -> None:
        """Commit a group, whose first is the leader's own, and others until one who waits can lead on."""
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
        except Exception as error:  # noqa: BLE001  # each is told
            if len(group) > 1 and not isinstance(error, DependencyDown | LogError):
                for member in group:
                    self._commit([member])
                return
            failed = error
        for member in group:
            member.then(failed)
