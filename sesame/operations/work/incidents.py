"""An incident: the failures of one cause at one consumer, from the first to the last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select, union_all

from pipeline import replays
from pipeline.attempts import AttemptEnd, attempts
from pipeline.audit import operator_notes
from pipeline.audit.operator_notes import Remark
from pipeline.db.bulk_sql import rows_among
from pipeline.dead_letters.rows import dead_letters
from pipeline.replays import Replay, replay_students
from schemas.account import CANARY
from sesame.acts.acts import DESK, Actor, ActRequest, Report, act, utc, utc_or_none
from sesame.acts.ports import Stored
from sesame.operations.people.diagnosis.act_sentences import as_text

SHOWN_AFTER_S: Final = 86_400.0
"""For how long an ended incident is still shown."""

REPLAYS_MAX: Final = 50
_ACTS: Final = ("dead_letters.dismiss", "quarantine.lift", "replay", "target.pause", "target.resume")
_d, _s, _r, _a = dead_letters.c, replay_students.c, replays.replays.c, attempts.c
LETTERS_MAX: Final = 500
"""Letters whose students tell when an incident began, and its replays: the first ones."""

_TRIED: Final = select(_a.student_number, _a.at).where(
    _a.target == bindparam("of"), _a.reason == bindparam("cause"), _a.ended == AttemptEnd.FAILED
)
_RESOLVED: Final = select(_d.student_number, _d.resolved_at).where(
    _d.consumer == bindparam("of"), _d.cause == bindparam("cause"), _d.resolved_at.is_not(None)
)
_REPLAYED: Final = (
    select(_r.id, _r.begun_at)
    .join(replay_students, _s.replay_id == _r.id)
    .where(_r.consumer == bindparam("of"), _r.begun_at >= bindparam("since"))
    .distinct()
)


class IncidentRequest(ActRequest):
    """The consumer, and the cause of its failures."""

    consumer: str
    cause: str


class IncidentAct(Report):
    """What an operator did about it. `words`: the act as a sentence; `reason`: as the operator wrote it."""

    at: datetime
    actor: str
    words: str
    reason: str


class IncidentReport(Report):
    """An incident, without names.

    Attributes:
        since: when the first of its students was given up; failed replays since then count as the same.
        ended: when the last one was resolved; None: some are not.
        failures: how many students, or records of no student, were given up.
        left: how many still are.
        replays: ids of its replays, the newest first.
    """

    since: datetime
    ended: datetime | None
    failures: int
    left: int
    acts: tuple[IncidentAct, ...]
    replays: tuple[str, ...]


@act("incident.show", DESK)
def show(site: Stored, _actor: Actor, request: IncidentRequest) -> IncidentReport | None:
    """The present incident of this cause, or one that ended within a day; None: there is none."""
    with site.database.read() as connection:
        since = _begin(connection, request, ended_after=site.database.now(connection) - SHOWN_AFTER_S)
        if since is None:
            return None
        mine = union_all(*(select(dead_letters).where(each) for each in _parts(request, since))).subquery().c
        failures, rows, closed, last = connection.execute(
            select(
                func.count(func.distinct(func.coalesce(mine.student_number, mine.id))),
                func.count(),
                func.count(mine.resolved_at),
                func.max(mine.resolved_at),
            )
        ).one()
        found = _replays(connection, request, since)
        noted = operator_notes.since(connection, _ACTS, since)
    told = sorted(_told(noted, found, request), key=lambda one: one.at)
    return IncidentReport(
        since=utc(since),
        ended=utc_or_none(last) if closed == rows else None,
        failures=failures,
        left=rows - closed,
        acts=tuple(told),
        replays=tuple(one.id for one in found),
    )


def cause_of_replay(site: Stored, replay_id: str) -> IncidentRequest | None:
    """What most students of a replay were given up for; None: for nothing that is known."""
    query = (
        select(_d.consumer, _d.cause)
        .join(replay_students, _s.student_number == _d.student_number)
        .join(replays.replays, and_(_r.id == _s.replay_id, _r.consumer == _d.consumer))
        .where(_s.replay_id == replay_id)
        .group_by(_d.consumer, _d.cause)
        .order_by(func.count().desc(), _d.cause)
        .limit(1)
    )
    with site.database.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else IncidentRequest(consumer=row.consumer, cause=row.cause)


def _parts(request: IncidentRequest, since: float | None) -> list[ColumnElement[bool]]:
    """The unresolved letters, and those that were resolved since then: an index has each part."""
    counted = _d.student_number.is_distinct_from(CANARY)
    these = and_(_d.consumer == request.consumer, _d.cause == request.cause, counted)
    resolved = [and_(these, _d.resolved_at >= since)] if since is not None else []
    return [and_(these, _d.resolved_at.is_(None)), *resolved]


def _begin(connection: Connection, request: IncidentRequest, *, ended_after: float) -> float | None:
    """The time since which some letter was always unresolved, until now or the end of the last one."""
    begin = _first(connection, request, None)
    if begin is None:
        _, ended = _parts(request, ended_after)
        begin = connection.execute(select(func.max(_d.resolved_at)).where(ended)).scalar_one()
    while begin is not None and (before := _first(connection, request, begin)) is not None:
        if before >= begin:
            break
        begin = before
    return begin


def _first(connection: Connection, request: IncidentRequest, since: float | None) -> float | None:
    """When the first of these students was given up: a failed replay moves a letter to its own time."""
    letters = _letters(connection, request, since)
    if not letters:
        return None
    begin = float(letters[0].recorded_at)
    known = {row.student_number: row.recorded_at for row in letters if row.student_number is not None}
    which = {"of": request.consumer, "cause": request.cause}
    before = dict.fromkeys(known, 0.0)  # by student, when an earlier letter was resolved
    for row in rows_among(connection, _RESOLVED, _d.student_number, list(known), **which):
        if row.resolved_at < known[row.student_number]:
            before[row.student_number] = max(before[row.student_number], row.resolved_at)
    for row in rows_among(connection, _TRIED, _a.student_number, list(known), **which):
        if before[row.student_number] < row.at <= known[row.student_number]:
            begin = min(begin, row.at)
    return begin


def _letters(connection: Connection, request: IncidentRequest, since: float | None) -> list[Any]:
    """Student and time of the first letters."""
    found = list[Any]()
    for part in _parts(request, since):
        query = select(_d.student_number, _d.recorded_at).where(part).order_by(_d.recorded_at)
        found += connection.execute(query.limit(LETTERS_MAX)).all()
    return sorted(found, key=lambda row: row.recorded_at)


def _replays(connection: Connection, request: IncidentRequest, since: float) -> list[Replay]:
    """The replays since then of students whom this cause concerned, the newest first."""
    numbers = list({row.student_number for row in _letters(connection, request, since)} - {None})
    rows = rows_among(connection, _REPLAYED, _s.student_number, numbers, of=request.consumer, since=since)
    begun = {row.id: row.begun_at for row in rows}
    newest = sorted(begun, key=lambda each: (-begun[each], each))[:REPLAYS_MAX]
    return [one for each in newest if (one := replays.by_id(connection, each)) is not None]


def _told(notes: list[Remark], found: list[Replay], request: IncidentRequest) -> Iterator[IncidentAct]:
    by_reason = {one.reason_ref: one for one in found}
    for each in notes:
        detail: dict[str, Any] = {"consumer": request.consumer}
        if each.action == "replay":
            if each.ref not in by_reason:
                continue
            mine = by_reason[each.ref]
            detail |= {"students": mine.students, "replay_id": mine.id}
        elif each.action == "dead_letters.dismiss":
            if each.about != request.cause:
                continue
            detail = {"by_cause": request.cause}
        elif each.about != request.consumer:
            continue
        elif each.action.startswith("target."):
            detail = {"target": request.consumer}
        words = as_text(each.action, detail)
        yield IncidentAct(at=utc(each.at), actor=each.actor, words=words, reason=each.words)
