"""A worker's view of the parking lot: due students, and repairs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection

from pipeline import parking
from pipeline.db.database import Database
from pipeline.engine.bell import Bell
from pipeline.eventlog.port import OffsetOutOfRange, TopicPartition
from pipeline.parking import Share, repair, resync

LOOK_EVERY_S = 0.25
LOOK_IDLE_S_MAX = 1.0  # other processes may park students at any time
MEND_EVERY_S = 60.0
ROWS_PER_PAGE = 200


class ParkingLot:
    """One worker's view of its consumer's parked rows.

    Args:
        consumer: the target's name.
        partitions: how many the topics have; owners share the rows as they share the partitions.
        on_trouble: receives what an operator should know.
    """

    def __init__(
        self, consumer: str, database: Database, *, partitions: int, on_trouble: Callable[[str], None]
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._partitions = partitions
        self._on_trouble = on_trouble
        self._next_look = self._next_mend = self._looked_at = 0.0

    def woken(self, now: float, owned: Collection[TopicPartition]) -> list[Bell]:
        """Return the bells of this worker's due students, in `owned` partitions; one page.

        Raises:
            StoreUnavailable: call again.
        """
        if now < self._next_look:
            return []
        self._looked_at = now
        if not owned:
            self._next_look = now + LOOK_EVERY_S
            return []
        if now >= self._next_mend:
            self._mend()
            self._next_mend = now + MEND_EVERY_S
        with self._database.read() as connection:
            moment = self._database.now(connection)
            nearest, rows = parking.next_due(connection, self._consumer), []
            if nearest is not None and nearest <= moment:  # most looks find no due row, and end here
                share = Share(frozenset(tp.partition for tp in owned), self._partitions)
                rows = parking.due(connection, self._consumer, moment, limit=ROWS_PER_PAGE, share=share)
        wait_s = LOOK_EVERY_S if rows else LOOK_IDLE_S_MAX
        if nearest is not None and not rows:
            wait_s = min(LOOK_IDLE_S_MAX, max(LOOK_EVERY_S, nearest - moment))
        self._next_look = now + wait_s
        return [Bell(row.student_number, row.version, row.lane, row.event_id, row.replay) for row in rows]

    def due_in(self, now: float) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next_look - now)

    def look_soon(self, now: float) -> None:
        """Look soon, once for many ended items: they may have parked students for a short while."""
        self._next_look = min(self._next_look, max(now, self._looked_at + LOOK_EVERY_S))

    def make_up_for(self, lost: OffsetOutOfRange) -> None:
        """Park, from the store, the students whose events the log may have lost.

        Raises:
            StoreUnavailable: nothing was done.
        """
        again = f"resync-{secrets.token_hex(8)}"
        count = self._database.transact(
            lambda connection: resync.behind(connection, self._database, self._consumer, event_id=again)
        )
        self._on_trouble(
            f"{lost}; {count} students are compared with the store, and nobody is missed. Replays that were "
            "asked for meanwhile may be lost: `sesame replays` shows them"
        )

    def _mend(self) -> None:
        with self._database.write() as connection:
            now = self._database.now(connection)
            moved, seconds = repair.clock_went_back(connection, self._consumer, now)
            mended = repair.mend(connection, self._consumer, now)
        if moved:
            self._on_trouble(
                f"the database's clock went back by {seconds:.0f} s: {moved} parked students are due after "
                "the delay that they had left. Look at the machine's time (NTP)"
            )
        if mended:
            self._on_trouble(
                f"{mended} parked rows were not as Sésame writes them (edited by hand?): they are looked at "
                "again. Use `sesame replay` instead of SQL"
            )
