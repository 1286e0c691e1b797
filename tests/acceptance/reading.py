"""What the log holds at the end: outcomes and completions, and whether any of them broke a promise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing

from pipeline.eventlog.port import EventLog, TopicPartition
from sandbox.process import wait_until
from schemas import catalogue
from schemas.envelope import Message, from_record
from schemas.events import Outcome, PropagationCompleted

_READ_S_MAX = 120.0


def messages(log: EventLog, topics: Sequence[str], *, group: str = "look") -> list[Message]:
    """Every message of these topics, in the order of each student's; a group reads them once."""
    ends = {tp: end for topic in topics for tp, end in log.end_offsets(topic).items()}
    found: list[Message] = []
    with closing(log.consumer(group, topics, member=group)) as consumer:
        seen: dict[TopicPartition, int] = dict.fromkeys(ends, 0)

        def read_to_the_end() -> bool:
            for record in consumer.poll(500, 0.5):
                seen[record.tp] = record.offset + 1
                found.append(from_record(record.key, record.headers, record.value))
            return all(seen[tp] >= end for tp, end in ends.items())

        wait_until(read_to_the_end, f"{', '.join(topics)} to be read", _READ_S_MAX)
    return found


def outcomes(log: EventLog) -> list[Outcome]:
    """Every outcome that was announced."""
    found = [message.event for message in messages(log, catalogue.both_lanes(catalogue.OUTCOMES))]
    return [event for event in found if isinstance(event, Outcome)]


def versions_went_back(found: Iterable[Outcome]) -> list[tuple[str, str, int, int]]:
    """Where a later lease announced an older version: (student number, target, version before, and after)."""
    newest: dict[tuple[str, str], int] = {}
    back = []
    for event in sorted(found, key=lambda event: (event.lease_epoch, event.sequence)):
        at = (event.student_number, event.target)
        if event.version < newest.get(at, 0):
            back.append((*at, newest[at], event.version))
        newest[at] = event.version
    assert len(newest) > 0
    return back


def completions(log: EventLog) -> dict[tuple[str, int], set[str]]:
    """The ids of the completions of each (student number, version). A record sent twice has one id."""
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for message in messages(log, [catalogue.PROPAGATION], group="look-completions"):
        if isinstance(message.event, PropagationCompleted):
            found[message.event.student_number, message.event.version].add(message.id)
    return found
