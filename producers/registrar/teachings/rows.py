"""One line's fields, validated: a student, a year, a teaching unit, and perhaps a group."""

from __future__ import annotations

from producers.registrar.faults import Rejection
from producers.registrar.physical import Line
from producers.registrar.profile import FeedProfile
from producers.registrar.rows import Fact, TeachingRow, checked


def parse(line: Line, profile: FeedProfile) -> Fact | list[Rejection]:
    """What a line states, or all its faults."""
    return checked(line, profile, lambda fields: TeachingRow.model_validate(fields).model_dump())
