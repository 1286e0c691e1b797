"""Times of completed propagations, without persons: by start, target and cohort."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    String,
    Table,
    case,
    delete,
    func,
    select,
)

from pipeline.accounts import accounts
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database, insert_for
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from schemas.account import Lane, Stage

_STEP_S: Final = 300
"""Times are counted by five minutes of their completion, later by month."""
_RATIO: Final = 1.05
"""A bucket's upper end, divided by its lower end: quantiles are right to 2.5 %."""
_SHORTEST_S: Final = 0.01
_ONE_MOMENT_S: Final = 0.001
_RECENT_S: Final = 25 * 3600
"""Counts become their month's once the last day has passed."""

ALL, TARGET, COHORT = "all", "target", "cohort"

propagation_times = Table(
    "propagation_times",
    metadata,
    Column("begins", Integer, primary_key=True),  # epoch seconds, UTC: of the five minutes, or of the month
    Column("start", String(16), primary_key=True),
    Column("kind", String(8), primary_key=True),  # all | target | cohort
    Column("name", String(255), primary_key=True),  # the target's or the cohort's
    Column("bucket", Integer, primary_key=True),
    Column("students", Integer, nullable=False),
    info=of_nobody("how fast accounts were made"),
)
_T = propagation_times.c
_A = accounts.c
_ACCOUNTS: Final = select(_A.student_number, _A.activated_at, _A.stage, _A.document)


class Start(StrEnum):
    """What opened a window: activation, or facts about an active student."""

    ACTIVATION = "activation"
    ENROLMENT = "enrolment"


class ClosedWindow(NamedTuple):
    """One student's completed propagation, in epoch seconds and in seconds since its start."""

    student_number: str
    lane: Lane
    completed_at: float
    opened_at: float
    elapsed_s: float
    targets_s: Mapping[str, float]


def count(connection: Connection, database: Database, completions: Sequence[ClosedWindow]) -> None:
    """Count these completions. Last in a transaction: others that count wait for its end."""
    if not completions:
        return
    counts: Counter[tuple[int, str, str, str, int]] = Counter()
    numbers = sorted({each.student_number for each in completions})
    rows = rows_among(connection, _ACCOUNTS, _A.student_number, numbers)
    known = {row.student_number: row for row in rows}
    for each in completions:
        row = known.get(each.student_number)
        if row is None or (start := _start(each, row.activated_at, row.stage)) is None:
            continue
        begins = int(each.completed_at) // _STEP_S * _STEP_S
        counts[begins, start, ALL, "", _bucket(each.elapsed_s)] += 1
        for name, took_s in each.targets_s.items():
            counts[begins, start, TARGET, name, _bucket(took_s)] += 1
        for cohort in _cohorts(row.document):
            counts[begins, start, COHORT, cohort, _bucket(each.elapsed_s)] += 1
    _add(connection, database, counts)


def _start(done: ClosedWindow, activated_at: float | None, stage: str) -> Start | None:
    """What opened the window; None: another act, such as a new password or an expiry."""
    if activated_at is not None and activated_at > done.opened_at - _ONE_MOMENT_S:
        return Start.ACTIVATION
    return Start.ENROLMENT if done.lane is Lane.BULK and stage == Stage.ACTIVE else None


def _cohorts(document: str) -> set[str]:
    try:
        cohorts = json.loads(document).get("cohorts", ())
    except ValueError:  # a damaged account is its targets' affair
        return set()
    return {cohort["key"] for cohort in cohorts if cohort["met"]}


def fold(connection: Connection, database: Database, now: float) -> None:
    """Add the counts of days past to their month's. `now`: epoch seconds."""
    older = connection.scalars(select(_T.begins).where(_T.begins < now - _RECENT_S).distinct())
    past = _T.begins.in_([begins for begins in older if begins != _month(begins)])
    counts: Counter[tuple[int, str, str, str, int]] = Counter()
    for begins, *of, students in connection.execute(
        delete(propagation_times).where(past).returning(propagation_times)
    ):
        counts[(_month(begins), *of)] += students
    _add(connection, database, counts)


Counted = Mapping[tuple[str, str, str], Sequence[tuple[int, int]]]
"""Students by (start, kind, name), in (bucket, students), the shortest first."""


def counted(
    connection: Connection, spans_s: Mapping[str, float], now: float, *, least: int
) -> dict[str, Counted]:
    """Counts within each span before now.

    They are to five minutes, beyond a day to the month; `spans_s`: the shortest first. A cohort of fewer than
    `least` students is left out.
    """
    shortest = case(*((_T.begins > now - span_s, span) for span, span_s in spans_s.items())).label("shortest")
    of = (_T.start, _T.kind, _T.name, _T.bucket)
    query = (
        select(shortest, *of, func.sum(_T.students))
        .where(_T.begins > now - max(spans_s.values()))
        .group_by(shortest, *of)
    )
    names = list(spans_s)
    found: dict[str, dict[tuple[str, str, str], Counter[int]]] = {
        span: defaultdict(Counter) for span in names
    }
    for span, start, kind, name, bucket, students in connection.execute(query):
        for longer in names[names.index(span) :]:
            found[longer][start, kind, name][bucket] += students
    return {
        span: {
            each: sorted(buckets.items())
            for each, buckets in sorted(counts.items())
            if each[1] != COHORT or buckets.total() >= least
        }
        for span, counts in found.items()
    }


def seconds_of(bucket: int) -> float:
    """The middle of a bucket, in seconds."""
    return _SHORTEST_S * math.pow(_RATIO, bucket - 0.5)


def prune(connection: Connection, before: float) -> int:
    """Remove counts of before; return how many rows."""
    return connection.execute(delete(propagation_times).where(_T.begins < before)).rowcount


def _add(
    connection: Connection, database: Database, counts: Mapping[tuple[int, str, str, str, int], int]
) -> None:
    """Add to the rows. In one order, so that two processes never wait for each other."""
    rows = [(*of, students) for of, students in sorted(counts.items())]
    if not rows:
        return
    names = [column.name for column in propagation_times.c]
    added = insert_for(propagation_times, is_sqlite=database.is_sqlite)
    added = added.on_conflict_do_update(
        index_elements=list(propagation_times.primary_key.columns),
        set_={"students": _T.students + added.excluded.students},
    )
    connection.execute(added, [dict(zip(names, row, strict=True)) for row in rows])


def _bucket(elapsed_s: float) -> int:
    return max(0, math.ceil(math.log(max(elapsed_s, _SHORTEST_S) / _SHORTEST_S, _RATIO)))


def _month(begins: float) -> int:
    day = datetime.fromtimestamp(begins, UTC)
    return int(day.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())
