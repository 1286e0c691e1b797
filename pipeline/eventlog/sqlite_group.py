"""Ownership of the embedded log's consumer groups.

A group has one running owner, which has every partition of its topics; the other members wait. The owner's
row carries a heartbeat by the machine's clock and an epoch. Ownership changes when the owner leaves, when its
heartbeat is older than its session time-out, or when a member with the *owner's own name* joins: the same
member, restarted. Each change raises the epoch, and a commit is accepted under the present epoch only, so a
stale member cannot move offsets. Two living processes with one name do not fight: the later one owns the
group, the earlier one waits as any other member.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import NamedTuple

from pipeline.eventlog.port import NotAssigned
from pipeline.eventlog.sqlite_file import Clock, LogFile


class _Owner(NamedTuple):
    member: str | None  # None: it left
    epoch: int
    heartbeat_ms: int
    session_ms: int


class GroupMembership:
    """One member of a group. Owns nothing before `join`; used by one thread.

    Args:
        connection: the member's own; no transaction may be open on it, unless a method says so.
        turn: held while writing, so that this process's threads take turns.
        session_timeout_s: an owner without a heartbeat for this long may be replaced.
    """

    def __init__(
        self,
        file: LogFile,
        connection: sqlite3.Connection,
        turn: Lock,
        *,
        group: str,
        member: str,
        clock: Clock,
        session_timeout_s: float,
    ) -> None:
        self._file, self._connection, self._turn = file, connection, turn
        self._group, self._member = group, member
        self._clock = clock
        self._session_ms = int(session_timeout_s * 1000)
        self._beat_ms = 0
        self._epoch: int | None = None

    @property
    def epoch(self) -> int | None:
        """The epoch under which this member owns the group, if it believes it does."""
        return self._epoch

    @property
    def patience_s(self) -> float:
        """After how long without anything else to do `keep` is due."""
        return 0.25 if self._epoch is None else self._session_ms / 4000

    def join(self) -> None:
        """Take the group at once if it is free, or if its owner has this member's name."""
        self._claim(joining=True)

    def keep(self) -> None:
        """Beat in time when owner; otherwise take the group over if it is free."""
        if self._epoch is None:
            with self._file.explained():
                owner = self._owner()
            if self._free(owner, joining=False):
                self._claim(joining=False)
            return
        now_ms = self._now_ms()
        if 0 <= now_ms - self._beat_ms < self._session_ms // 3:
            return
        with suppress(NotAssigned), self.writing():
            self._connection.execute(
                "UPDATE consumer_groups SET heartbeat_ms = ?, session_ms = ? WHERE name = ?",
                (now_ms, self._session_ms, self._group),
            )
            self._beat_ms = now_ms

    def check(self) -> None:
        """Raise `NotAssigned` and forget the epoch unless this member owns the group. In a transaction."""
        owner = self._owner()
        if self._epoch is None or owner is None or owner.epoch != self._epoch:
            self._epoch = None
            raise NotAssigned(
                f"member {self._member!r} does not own group {self._group!r} (any more): its partitions are"
                " another member's, which starts from the committed offsets"
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A durable transaction of the owner. A member that is not raises `NotAssigned`, writing nothing."""
        with self._turn, self._file.writing(self._connection):
            self.check()
            yield

    def leave(self) -> None:
        """Release the group for the next member."""
        if self._epoch is None:
            return
        with suppress(NotAssigned), self.writing():
            self._connection.execute(
                "UPDATE consumer_groups SET member = NULL WHERE name = ?", (self._group,)
            )
        self._epoch = None

    def _claim(self, *, joining: bool) -> None:
        with self._turn, self._file.writing(self._connection):
            owner = self._owner()
            if not self._free(owner, joining=joining):
                return
            now_ms = self._now_ms()
            epoch = 1 if owner is None else owner.epoch + 1
            self._connection.execute(
                "INSERT OR REPLACE INTO consumer_groups (name, member, epoch, heartbeat_ms, session_ms)"
                " VALUES (?, ?, ?, ?, ?)",
                (self._group, self._member, epoch, now_ms, self._session_ms),
            )
        self._epoch, self._beat_ms = epoch, now_ms

    def _owner(self) -> _Owner | None:
        row = self._connection.execute(
            "SELECT member, epoch, heartbeat_ms, session_ms FROM consumer_groups WHERE name = ?",
            (self._group,),
        ).fetchone()
        return None if row is None else _Owner(*row)

    def _free(self, owner: _Owner | None, *, joining: bool) -> bool:
        if owner is None or owner.member is None or (joining and owner.member == self._member):
            return True
        # A heartbeat far in the future was written before the machine's clock was set back.
        return abs(self._now_ms() - owner.heartbeat_ms) > owner.session_ms

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
