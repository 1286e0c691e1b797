"""Follow completions in the log's order; a caller resumes where it stopped.

Order and places are the log's: propagation announces each completion there once, kept for 400 days. The store
has only the newest one of each student, without their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import StringConstraints

from pipeline.errors import SesameError
from pipeline.eventlog.port import Record, TopicReader
from schemas import catalogue
from schemas.envelope import EnvelopeError, from_record
from schemas.events import PropagationCompleted
from sesame.acts.acts import STAFF, Actor, ActRequest, Report, act, note_look
from sesame.acts.ports import Logged

_PLACE: Final = re.compile(r"(\d{1,4}):(\d{1,18})")


class UnknownPlace(SesameError):
    """A place in the completions is what came as the `id` of one of them."""

    exit_code = 2


class CompletionsRequest(ActRequest):
    """The start: after the completion with this `id`; None: from now on.

    With `everything`: from the first one that the log still has.
    """

    after: Annotated[str, StringConstraints(max_length=4000)] | None = None
    everything: bool = False


class Completion(Report):
    """A student's account works everywhere. `id`: the place to resume after it."""

    id: str
    completed: PropagationCompleted


class Completions:
    """Past and coming completions, owned by one thread. `ends`: the log's ends when the reading began."""

    def __init__(self, reader: TopicReader, offsets: dict[int, int], ends: dict[int, int]) -> None:
        self._reader = reader
        self._offsets = offsets
        self._ends = ends

    def next(self, most: int, timeout_s: float) -> list[Completion]:
        """The next completions, at most `most`; none if none came within `timeout_s`.

        Raises:
            OffsetOutOfRange: the log has lost the place: start over.
            LogUnavailable: retry.
        """
        return list(self._each(self._reader.poll(most, timeout_s)))

    @property
    def has_all(self) -> bool:
        """Whether everything that the log had at the start was read."""
        return all(self._offsets.get(partition, 0) >= end for partition, end in self._ends.items())

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def _each(self, records: list[Record]) -> Iterator[Completion]:
        for record in records:
            self._offsets[record.partition] = record.offset + 1
            if record.is_erased:
                continue
            try:
                event = from_record(record.key, record.headers, record.value, topic=record.topic).event
            except EnvelopeError:  # a dead letter of the topic's consumers
                continue
            if isinstance(event, PropagationCompleted):
                place = ",".join(f"{each}:{offset}" for each, offset in sorted(self._offsets.items()))
                yield Completion(id=place, completed=event)


@act("completions.follow", STAFF)
def follow(site: Logged, actor: Actor, request: CompletionsRequest) -> Completions:
    """Follow the completions; the caller closes them. It is audited once, at the start.

    Raises:
        UnknownPlace: there is no such place.
        LogUnavailable: retry.
    """
    ends = {tp.partition: end for tp, end in site.log.end_offsets(catalogue.PROPAGATION).items()}
    offsets = {} if request.everything else dict(ends)
    if request.after is not None:
        offsets = _offsets(request.after)
        if not offsets.keys() <= ends.keys():
            raise UnknownPlace
    note_look(site.database, actor, "completions.follow", after=request.after, everything=request.everything)
    return Completions(site.log.reader(catalogue.PROPAGATION, offsets), dict(offsets), ends)


def _offsets(place: str) -> dict[int, int]:
    found = [_PLACE.fullmatch(each) for each in place.split(",")]
    offsets = {int(each[1]): int(each[2]) for each in found if each is not None}
    if len(offsets) != len(found):
        raise UnknownPlace
    return offsets
