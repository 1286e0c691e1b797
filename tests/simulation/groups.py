"""The simulated log's coordinator: partitions by member of a consumer group.

As in Kafka's eager protocol, a member that joins, leaves or is missed begins a new generation. It is shared
out once every member has come back, at its next poll, or was missed for the session's time; those who are
back have nothing until then. Partitions go by ranges of each topic. A commit counts only under the present
generation, so that a replaced member moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.eventlog.port import TopicPartition


@dataclass(eq=False)
class Seat:
    """One member.

    Attributes:
        holder: the handle that has this seat; another handle with the member's name takes it away.
        back: whether it has come back for the generation that is being shared out.
    """

    holder: object
    topics: tuple[str, ...]
    seen_at: float
    back: bool = True
    owns: frozenset[TopicPartition] = frozenset()


@dataclass
class Group:
    """One consumer group.

    Attributes:
        partitions: of a topic.
        moved: called when a generation was shared out.
        committed: the next offset to read.
        generation: raised each time the partitions are shared out.
    """

    name: str
    session_timeout_s: float
    clock: Callable[[], float]
    partitions: Callable[[str], int]
    moved: Callable[[Group], None]
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    generation: int = 0
    sharing: bool = False
    nobody_missed_until: float = 0.0  # before that no member can have been silent for too long

    def join(self, member: str, holder: object, topics: Sequence[str]) -> None:
        """Take the seat of this name from any holder."""
        self.seats[member] = Seat(holder, tuple(topics), self.clock())
        self._share_out_anew()

    def leave(self, member: str) -> None:
        del self.seats[member]
        self._share_out_anew()

    def beat(self, member: str) -> Seat:
        """Note a member's poll: it is alive, and back for a new generation, if any."""
        seat = self.seats[member]
        seat.seen_at = self.clock()
        self._miss_the_silent()
        if self.sharing and not seat.back:
            seat.back, seat.owns = True, frozenset()
            self._share_out_if_all_are_back()
        return seat

    def _miss_the_silent(self) -> None:
        now = self.clock()
        if now < self.nobody_missed_until:
            return
        gone = [name for name, seat in self.seats.items() if now - seat.seen_at > self.session_timeout_s]
        for name in gone:
            del self.seats[name]
        self.nobody_missed_until = min(seat.seen_at for seat in self.seats.values()) + self.session_timeout_s
        if gone:
            self._share_out_anew()

    def _share_out_anew(self) -> None:
        if not self.sharing:
            self.sharing = True
            for seat in self.seats.values():
                seat.back = not seat.owns  # an owner gives its partitions up first
        self._share_out_if_all_are_back()

    def _share_out_if_all_are_back(self) -> None:
        if not all(seat.back for seat in self.seats.values()):
            return
        self.sharing = False
        self.generation += 1
        owned: dict[str, set[TopicPartition]] = {name: set() for name in self.seats}
        for topic in sorted({topic for seat in self.seats.values() for topic in seat.topics}):
            readers = sorted(name for name, seat in self.seats.items() if topic in seat.topics)
            whole, rest = divmod(self.partitions(topic), len(readers))
            first = 0
            for index, name in enumerate(readers):
                size = whole + (index < rest)
                owned[name] |= {TopicPartition(topic, number) for number in range(first, first + size)}
                first += size
        for name, seat in self.seats.items():
            seat.owns = frozenset(owned[name])
        self.moved(self)
