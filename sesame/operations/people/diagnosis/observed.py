"""Pending writes to observed-only targets: counts and examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from pipeline.target import OBSERVED_ONLY
from pipeline.target_states import target_states as t
from schemas.account import CANARY

EXAMPLES_MAX = 3


@dataclass
class Observed:
    """One target that is only observed.

    Attributes:
        students: how many were observed, those who are as they should be among them.
        unchanged: for how many nothing would be written.
        fields: what would be written, to how many students.
        examples: student numbers, some for each kind of difference, with what would be written.
    """

    students: int = 0
    unchanged: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)


def observed(connection: Connection) -> dict[str, Observed]:
    """The last observations by target. The database counts: one row per set of differences, which are few."""
    rows = connection.execute(
        select(t.c.target, t.c.pending, func.count(), func.min(t.c.student_number))
        .where(t.c.reason == OBSERVED_ONLY, t.c.student_number != CANARY)
        .group_by(t.c.target, t.c.pending)
        .order_by(t.c.target, func.count().desc(), t.c.pending)
    )
    found: dict[str, Observed] = {}
    for target, pending, students, example in rows:
        one, names = found.setdefault(target, Observed()), tuple(json.loads(pending or "[]"))
        one.students += students
        one.unchanged += 0 if names else students
        for name in {_kind(name) for name in names}:
            one.fields[name] = one.fields.get(name, 0) + students
        if names and len(one.examples) < EXAMPLES_MAX:
            one.examples[example] = names
    return found


def differences(connection: Connection) -> Mapping[tuple[str, str], int]:
    """Number of students with a pending write, by target and field."""
    return {
        (target, name): students
        for target, one in observed(connection).items()
        for name, students in one.fields.items()
    }


def _kind(name: str) -> str:
    """Count as one the cohorts that an earlier version named one by one (`+`, `-`)."""
    return "cohorts" if name[:1] in ("+", "-") else name
