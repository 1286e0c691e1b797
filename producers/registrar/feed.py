"""The facts of a feed: published ones, and those about to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from pipeline.eventlog.port import NewRecord
from schemas.catalogue import ENROLMENTS
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import EnrolmentCancelled, EnrolmentRecorded, RegistrarFact

FactRow = Mapping[str, Any]
"""A fact's columns in its feed's table, without its import."""

StepKey = tuple[str, int, str, str]
"""Key of an enrolment: student number, year, step, step version."""


class Published(NamedTuple):
    """The last fact of one enrolment that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, it is unknown whether the log
    has it. `live`: the registrar held the enrolment. `outline`: as given with the fact; None: not kept then.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    live: bool
    outline: str | None


Listed = Mapping[tuple[str, str], str]
"""A list: unit and group (empty: none) to the unit's name (empty: none)."""


def listed_text(listed: Listed) -> str:
    """A list in the form that tables keep: JSON of [unit, group, label]."""
    return json.dumps(sorted([*key, label] for key, label in listed.items()), ensure_ascii=False)


def listed_in(text: str) -> Listed:
    """The list in this text."""
    return {(element, group): label for element, group, label in json.loads(text)}


YearKey = tuple[str, int]
"""Key of a list: student number and year."""


class PublishedList(NamedTuple):
    """The last list of one student's year that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, it is unknown whether the log
    has it.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    listed: Listed


EMITTER = "registrar"
SEQUENCES_PER_IMPORT = 100_000_000
"""A source sequence is the import's id times this, plus the line's number."""


class UnpublishedFact(Protocol):
    """A fact that the log does not have yet."""

    @property
    def line(self) -> int:
        """Its line in the file; absent ones come after the last line."""

    def row(self, sequence: int) -> FactRow:
        """The columns to record before appending. `sequence`: the fact's source sequence."""

    def record(self, source: str, sequence: int, time: datetime) -> NewRecord:
        """The record to append."""


def base_after(before: Published | PublishedList | None, fingerprint: str) -> int:
    """The base of a fact; a repeated fact keeps its base, and so its event id."""
    if before is None:
        return 0
    return before.base if before.fingerprint == fingerprint else before.sequence


def new_record(event: RegistrarFact, identity: tuple[str | int, ...], time: datetime) -> NewRecord:
    """The log's record of a fact.

    Args:
        identity: with the type and the source, identifies the same fact when it is published again.
        time: of the fact, with a zone.
    """
    headers, value = to_record(
        Message(
            id=event_id(event.type, EMITTER, event.source, *identity),
            source=SOURCE_PREFIX + EMITTER,
            time=time,
            event=event,
        )
    )
    return NewRecord(ENROLMENTS, event.student_number, value, headers)


def fact_id(source: str, key: StepKey, published: Published) -> str:
    """The event id of the last fact of an enrolment."""
    kind = EnrolmentRecorded if published.live else EnrolmentCancelled
    return event_id(kind.type, EMITTER, source, *key, published.fingerprint, str(published.base))
