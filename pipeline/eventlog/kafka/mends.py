"""Faults of kafka-python 3.0.12 that a short poll meets, and what is done about each.

They are in the library's inner parts, and so is the mending: look here first when its version changes. The
conformance suite meets all of them.
"""

from __future__ import annotations

from kafka import KafkaConsumer
from kafka.structs import MemberState


def unpark(consumer: KafkaConsumer) -> None:
    """Let a partition that was paused and resumed be read again; to be called before each poll.

    What the library has of a paused partition it puts aside, and takes back only when there is no part that
    it is draining: one that is empty already keeps the resumed partition silent for ever.
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if not fetcher._next_partition_records:  # noqa: SLF001
        fetcher._next_partition_records = None  # noqa: SLF001


def stable(consumer: KafkaConsumer) -> bool:
    """Whether the member has its part of the group. If not, the next poll must wait for a while.

    The library loses what a join brought when it ended between two polls: it begins another one, which
    disturbs the whole group, and never ends if all polls are short. And when the topics became known while a
    join was under way it forgets to wait for it at all; that is mended here.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    if coordinator.state == MemberState.REBALANCING and not coordinator.need_rejoin():
        coordinator.request_rejoin()
    return bool(coordinator.state == MemberState.STABLE and not coordinator.need_rejoin())
