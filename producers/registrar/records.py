"""What a feed intends to publish, and has: the fact of an enrolment, the list of a student's year."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

StepKey = tuple[str, int, str, str]
"""Student number, year, step, step version: what one enrolment is known by."""


class Published(NamedTuple):
    """The last fact of one enrolment that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, nobody knows whether the log
    has it. `live`: the registrar held the enrolment. `outline`: as given with the fact; None: not kept then.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    live: bool
    outline: str | None


class Intended(NamedTuple):
    """A fact that is about to be appended."""

    key: StepKey
    fingerprint: str
    sequence: int
    base: int
    live: bool
    outline: str


Listed = Mapping[tuple[str, str], str]
"""A list: unit and group (empty: none) to the unit's name (empty: none)."""

YearKey = tuple[str, int]
"""Student number and year: what a list is known by."""


class PublishedList(NamedTuple):
    """The last list of one student's year that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, nobody knows whether the log
    has it.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    listed: Listed


class IntendedList(NamedTuple):
    """A list that is about to be appended."""

    key: YearKey
    fingerprint: str
    sequence: int
    base: int
    listed: Listed
