"""Group commit: whatever waits is done in one go, while what comes meanwhile waits for the next one.

A flush to the disk, or a round trip to a server, costs the same for one item as for a hundred. The
first one goes alone, and the busier the worker, the larger the groups; a stage may linger besides, while it
knows that more is about to come.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Together(Generic[Item]):
    """One stage's inbox, and the work that is done on what is in it. One thread works; any may put.

    Args:
        work: told what waited, at least one item; must not raise, unless the process is to end.
        size: an item's size; a group ends with the item by which it reaches `size_max`.
        linger_s: how long the first of a group waits for others, seconds; asked when it is there.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], None],
        *,
        size: Callable[[Item], int],
        size_max: int,
        linger_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._size = size
        self._size_max = size_max
        self._linger_s = linger_s
        self._clock = clock
        self._inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()

    def put(self, item: Item) -> None:
        """Let an item wait."""
        self._inbox.put(item)

    def end(self) -> None:
        """Let `run` return, after what was put before."""
        self._inbox.put(None)

    def run(self) -> None:
        """Work until `end`."""
        while self.once(wait=True):
            pass

    def once(self, *, wait: bool = False) -> bool:
        """Do what waits. False if there was nothing, or if it was to end."""
        group: list[Item] = []
        size, until = 0, 0.0
        while size < self._size_max:
            left_s = until - self._clock() if group else None
            try:
                item = self._inbox.get(block=wait and (left_s is None or left_s > 0), timeout=left_s)
            except queue.Empty:
                break
            if item is None:
                if group:
                    self._inbox.put(None)  # after this group
                break
            if wait and not group:
                until = self._clock() + self._linger_s()
            group.append(item)
            size += self._size(item)
        if group:
            self._work(group)
        return bool(group)
