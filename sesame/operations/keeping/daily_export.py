"""Export a day's propagations as a table without persons, to evaluate elsewhere."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from consumers.propagation.rows import propagation as p
from consumers.propagation.settings import PropagationSettings
from pipeline import target_states
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import SesameError, of_extra
from schemas.account import Lane
from schemas.language import gettext
from sesame.acts.acts import EVERYBODY, Actor, ActRequest, Report, act
from sesame.acts.ports import Configured
from sesame.operations.people.diagnosis.figures import COHORT_MIN, CompletedPropagation, completed, quantiles

ExportForm = Literal["csv", "parquet"]
Kind = Literal["completed", "late", "breached", "waiting", "dead_letters"]

ALL, OTHER = "all", "other"
"""Every target or cohort; all cohorts that are too small to be named."""


class DayNotOver(SesameError):
    """A day is exported when it is over: what is counted of it would be taken for the whole of it."""

    exit_code = 2


class DayExportRequest(ActRequest):
    """A day, in the time zone of `portal.timezone`, and a form."""

    day: date
    form: ExportForm = "csv"


class DayRow(Report):
    """A count of students, and their times; empty where it does not apply.

    Attributes:
        kind: `completed` on the day; `late`, `breached`: an edge of the window was passed on the day;
            `waiting`, now; `dead_letters` recorded on the day.
        target: or consumer; `all`: every target.
        cohort: `all`; the name of one with at least `COHORT_MIN` students; `other`: the rest.
        lane: `personal` or `bulk`.
        reason: of waiting, or the cause of the dead letters.
        late, breached: of those completed, how many took longer than the objectives.
    """

    day: date
    kind: Kind
    target: str
    cohort: str | None = None
    lane: str | None = None
    reason: str | None = None
    students: int
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    late: int | None = None
    breached: int | None = None


_COLUMNS: Final[Mapping[str, str]] = {
    "day": "DATE",
    "kind": "VARCHAR",
    "target": "VARCHAR",
    "cohort": "VARCHAR",
    "lane": "VARCHAR",
    "reason": "VARCHAR",
    "students": "BIGINT",
    "p50_s": "DOUBLE",
    "p95_s": "DOUBLE",
    "p99_s": "DOUBLE",
    "late": "BIGINT",
    "breached": "BIGINT",
}
"""Types of the columns in SQL."""


@act("export.day", EVERYBODY)
def export_day(
    site: Configured, _actor: Actor, request: DayExportRequest, clock: Callable[[], datetime]
) -> bytes:
    """Export the day's table as a file's content.

    Each student counts once, by the newest version of the account, so export a day soon after it is over.

    Raises:
        DayNotOver: the day is not over.
        NotInstalled: DuckDB is not.
    """
    settings = site.settings
    zone = ZoneInfo(settings.portal.timezone)
    if request.day >= clock().astimezone(zone).date():
        raise DayNotOver(gettext("{day} is not over", day=request.day.isoformat()))
    begins, ends = (
        datetime.combine(each, time(), zone).astimezone(UTC).timestamp()
        for each in (request.day, request.day + timedelta(days=1))
    )
    with site.database.read() as connection:
        rows = list(_rows(connection, request.day, settings.targets, settings.propagation, (begins, ends)))
    return _parquet(rows) if request.form == "parquet" else _csv(rows)


def _rows(
    connection: Connection,
    day: date,
    targets: Sequence[str],
    objectives: PropagationSettings,
    within: tuple[float, float],
) -> Iterator[DayRow]:
    for lane in Lane:
        done = list(completed(connection, lane, targets, within))
        for cohort, some in _by_cohort(done).items():
            for target in (ALL, *targets):
                yield from _completed(day, lane, target, cohort, some, objectives)
    for kind, edge in (("late", p.c.late_at), ("breached", p.c.breached_at)):
        query = select(func.count()).where(edge > within[0], edge <= within[1])
        if count := connection.execute(query).scalar_one():
            yield DayRow(day=day, kind=kind, target=ALL, lane=Lane.PERSONAL, students=count)
    counted: tuple[tuple[Kind, Mapping[tuple[str, str], int]], ...] = (
        ("waiting", target_states.waiting_counts(connection)),
        ("dead_letters", dead_letters.recorded(connection, *within)),
    )
    for what, counts in counted:
        for (target, reason), count in sorted(counts.items()):
            yield DayRow(day=day, kind=what, target=target, reason=reason, students=count)


def _by_cohort(done: Sequence[CompletedPropagation]) -> Mapping[str, Sequence[CompletedPropagation]]:
    """Group propagations: all, each cohort that is large enough, and the others."""
    sizes = Counter(cohort for each in done for cohort in set(each.cohorts))
    named = {cohort for cohort, size in sizes.items() if size >= COHORT_MIN}
    found: dict[str, list[CompletedPropagation]] = {ALL: list(done)}
    for each in done:
        for cohort in sorted(named.intersection(each.cohorts)) or [OTHER]:
            found.setdefault(cohort, []).append(each)
    return found


def _completed(
    day: date,
    lane: Lane,
    target: str,
    cohort: str,
    done: Sequence[CompletedPropagation],
    objectives: PropagationSettings,
) -> Iterator[DayRow]:
    took = [each.elapsed_s if target == ALL else each.targets.get(target) for each in done]
    seconds = [value for value in took if value is not None]
    found = quantiles(seconds)
    if found is None or (cohort != ALL and len(seconds) < COHORT_MIN):
        return
    yield DayRow(
        day=day,
        kind="completed",
        target=target,
        cohort=cohort,
        lane=lane,
        students=found.students,
        p50_s=found.p50,
        p95_s=found.p95,
        p99_s=found.p99,
        late=sum(1 for value in seconds if value > objectives.late_s),
        breached=sum(1 for value in seconds if value > objectives.breach_s),
    )


def _csv(rows: Sequence[DayRow]) -> bytes:
    """RFC 4180, in UTF-8; empty: does not apply."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(row.model_dump(mode="json") for row in rows)
    return text.getvalue().encode()


def _parquet(rows: Sequence[DayRow]) -> bytes:
    with of_extra("parquet"):
        import duckdb
    with TemporaryDirectory(prefix="sesame-export-") as folder, duckdb.connect() as database:
        path = Path(folder) / "day.parquet"
        database.execute(f"CREATE TABLE day ({', '.join(map(' '.join, _COLUMNS.items()))})")
        if rows:
            marks = ", ".join("?" * len(_COLUMNS))
            statement = f"INSERT INTO day VALUES ({marks})"  # noqa: S608 (marks only)
            database.executemany(statement, [[getattr(row, name) for name in _COLUMNS] for row in rows])
        database.table("day").write_parquet(str(path))
        return path.read_bytes()
