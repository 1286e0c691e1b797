"""A member of a consumer group of the simulated log. See `pipeline.eventlog.port.Consumer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.eventlog.port import LogUnavailable, NotAssigned, OffsetOutOfRange, Record, TopicPartition
from tests.simulation.groups import Group, Seat

if TYPE_CHECKING:
    from tests.simulation.log import SimulatedLog


class Reader:
    """One handle. When another joins with its name, it is shut out, and returns under another name."""

    def __init__(self, log: SimulatedLog, group: Group, member: str, topics: Sequence[str]) -> None:
        self.group = group
        self._log = log
        self._member = member
        self._topics = tuple(topics)
        self._generation = -1
        self._positions: dict[TopicPartition, int] = {}
        # The generation that gave each; kept while no other one took it away.
        self._given: dict[TopicPartition, int] = {}
        self._assignment: tuple[object, Mapping[TopicPartition, int]] = (None, {})
        self._paused: set[TopicPartition] = set()
        self._turns = 0
        self.news = True  # whether there may be something to fetch
        group.join(member, self, topics)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        log = self._log
        give_up_at = log.clock() + timeout_s
        while True:
            with log.lock:
                self._keep_seat()
                records = self._fetch(max_records) if max_records else []
            left_s = give_up_at - log.clock()
            if records or left_s <= 0:
                return records
            log.wait(self, min(left_s, log.session_timeout_s / 3))

    def assignment(self) -> Mapping[TopicPartition, int]:
        positions, shown = self._assignment
        if positions is not self._positions:
            shown = {tp: self._given[tp] for tp in self._positions}
            self._assignment = (self._positions, shown)
        return shown

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        with self._log.lock:
            seat = self._seat()
            if seat is None or self._generation != self.group.generation:
                self._positions = {}
                raise NotAssigned(f"member {self._member!r} of group {self.group.name!r} was replaced")
            ours = {tp: offset for tp, offset in offsets.items() if tp in self._positions}
            self.group.committed |= ours
        if len(ours) < len(offsets):
            raise NotAssigned(f"group {self.group.name!r}: not ours: {sorted(offsets.keys() - ours)}")

    def committed(self, tp: TopicPartition) -> int | None:
        return self.group.committed.get(tp)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp not in self._positions:
            raise NotAssigned(f"{tp} is not assigned to member {self._member!r}")
        self._positions[tp] = offset
        self.news = True

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        self._paused.update(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        before = len(self._paused)
        self._paused.difference_update(tps)
        self.news = self.news or len(self._paused) < before

    def lag(self) -> dict[TopicPartition, int]:
        with self._log.lock:
            ends = {tp: len(self._log.records[tp]) for tp in self._positions}
            return {tp: end - self.group.committed.get(tp, 0) for tp, end in ends.items()}

    def close(self) -> None:
        with self._log.lock:
            self._log.forget(self)
            self._positions = {}
            if self._seat() is not None:
                self.group.leave(self._member)

    # --- for the log ------------------------------------------------------------------------------

    def reads(self, tps: set[TopicPartition]) -> bool:
        """Whether something new in these partitions is for this reader."""
        return any(tp in self._positions and tp not in self._paused for tp in tps)

    # --- inside -----------------------------------------------------------------------------------

    def _seat(self) -> Seat | None:
        seat = self.group.seats.get(self._member)
        return seat if seat is not None and seat.holder is self else None

    def _keep_seat(self) -> None:
        group = self.group
        held = group.seats.get(self._member)
        if held is None or held.holder is not self:
            taken = self._member in group.seats
            self._positions, self._generation = {}, -1
            if taken:
                self._member = f"{self._member}-{len(group.seats) + group.generation}"
            group.join(self._member, self, self._topics)
            if taken:
                raise LogUnavailable("another process has this member's name: this one goes on under another")
        seat = group.beat(self._member)
        if group.sharing:
            self._positions = {}
        elif self._generation != group.generation:
            kept = self._given if self._generation == group.generation - 1 else {}
            self._given = {tp: kept.get(tp, group.generation) for tp in seat.owns}
            self._generation = group.generation
            self._positions = {tp: group.committed.get(tp, 0) for tp in sorted(seat.owns)}
            self.news = True

    def _fetch(self, wanted: int) -> list[Record]:
        if not self.news:
            return []
        available = {}
        for tp, position in self._positions.items():
            if tp in self._paused:
                continue
            end = len(self._log.records[tp])
            if not 0 <= position <= end:
                raise OffsetOutOfRange(
                    f"group {self.group.name!r}: offset {position} of {tp.topic} partition {tp.partition} is"
                    f" not in the log, which goes from 0 to {end}",
                    tp=tp,
                    offset=position,
                    first=0,
                )
            if position < end:
                available[tp] = end - position
        if not available:
            self.news = False
            return []
        records: list[Record] = []
        for tp, number in self._shared(available, wanted):
            position = self._positions[tp]
            records += self._log.records[tp][position : position + number]
            self._positions[tp] = position + number
        self._turns += 1
        return records

    def _shared(
        self, available: Mapping[TopicPartition, int], wanted: int
    ) -> list[tuple[TopicPartition, int]]:
        """The share of each, so that a long partition does not keep the others waiting."""
        order = list(available)
        turn = self._log.first(len(order)) if self._log.first is not None else self._turns % len(order)
        shares = []
        for index, tp in enumerate(order[turn:] + order[:turn]):
            fair = -(-wanted // (len(order) - index))
            number = min(available[tp], fair, wanted)
            wanted -= number
            if number:
                shares.append((tp, number))
        return shares
