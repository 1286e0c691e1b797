"""Replays: select students, preview changes, publish requests, resume a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, FiniteFloat

from consumers.registry import NAME as REGISTRY
from pipeline import replays
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import SesameError
from pipeline.replays import Replay
from producers.replay.requests import go_on, plan, progress_of
from producers.replay.selection import Selection, select_students
from schemas.account import Lane, StudentNumber
from schemas.language import gettext, ngettext
from schemas.scalars import INTEGER_MAX, Text
from sesame.acts import acts
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, ActRequest, Report, act, utc
from sesame.acts.admission import admit
from sesame.acts.ports import Configured, Replaying, Stored, check_target, works_without_target
from sesame.operations.people.diagnosis.reasons import explanations

PER_S = 100
"""Default pace of a replay, in students per second."""


LISTED_MAX = 20
"""Limit of listed replays."""

FAILURES_MAX = 50
"""Limit of failed students named per replay."""

_LOT = random.SystemRandom()


First = Annotated[int, Field(ge=1, le=INTEGER_MAX)] | None
Pace = Annotated[int, Field(ge=1, le=10_000)] | None


class NoSuchReplay(SesameError):
    """No replay has this id. `sesame replays` shows the latest ones."""


class NobodyToReplay(SesameError):
    """Nobody is selected: nothing was published."""


class FailedBefore(SesameError):
    """Some of these students were replayed in vain before, and are still given up: one replay more would fail
    the same way while the cause is there. Nothing was published."""


class UnclearSelection(SesameError):
    """A replay is for named students, for a cause or for everybody, one of them only, or for a time; named
    students have no time."""

    exit_code = 2


class ReplaySelectionRequest(ActRequest):
    """A replay's students; see `producers.replay.selection.Selection`. Unix times, in seconds."""

    consumer: str
    students: tuple[str, ...] = ()
    cause: str | None = None
    everybody: bool = False
    since: FiniteFloat | None = None
    until: FiniteFloat | None = None


class ReplaySelection(Report):
    """A selection's students.

    Attributes:
        students: those to replay.
        unknown, not_activated: named ones who cannot be.
        nobody: why a cause selects none, and which causes there are; empty: it selects some.
        lane: of the replay: named students and causes are personal, all students and a time are in bulk.
        failed_before: how many were replayed without success, and are still given up: see `again`.
    """

    consumer: str
    students: tuple[str, ...]
    unknown: tuple[str, ...]
    not_activated: tuple[str, ...]
    nobody: str
    lane: Lane
    failed_before: int = 0


class ReplayRequest(ActRequest):
    """A replay for these students.

    Attributes:
        first: for no more than so many now.
        canary: for so many now that are drawn by lot, instead.
        per_s: its pace.
        incident: its name.
        again: the cause is mended: students replayed without success are replayed again.
    """

    consumer: str
    students: tuple[StudentNumber, ...]
    lane: Lane
    reason: Text
    first: First = None
    canary: First = None
    per_s: Pace = None
    incident: Annotated[str, Field(max_length=120)] | None = None
    again: bool = False


class ResumeReplayRequest(ActRequest):
    """The replay to resume. `per_s`: at another pace than before."""

    replay_id: str
    first: First = None
    per_s: Pace = None


class ReplayStanding(Report):
    """A replay's progress, and its next students.

    Attributes:
        incident: its name; None: none.
        stopped: no more requests are sent, until it is resumed.
        per_s: its pace, in students a second.
        failures: students given up again: `FAILURES_MAX` of them at most.
    """

    consumer: str
    incident: str | None
    actor: str
    begun_at: datetime
    stopped: bool
    per_s: int | None
    students: int
    asked: int
    done: int
    failed: int
    under_way: int
    failures: tuple[str, ...]
    next: tuple[str, ...]


class BeginReplayReport(Report):
    """The numbers of requests made now, and by now."""

    consumer: str
    students: int
    published: bool = True
    asked_now: int
    asked: int
    replay_id: str


class ReplayProgress(Report):
    """A replay, its progress, and the ends of its students."""

    replay_id: str
    consumer: str
    begun_at: datetime
    actor: str
    students: int
    asked: int
    done: int
    failed: int
    under_way: int
    incident: str | None
    stopped: bool


@act("replay.list", EVERYBODY, path=ActPath("list_replays", "GET", "/replays"))
def latest(site: Stored, _actor: Actor) -> list[ReplayProgress]:
    """The latest replays, the newest first."""
    with site.database.read() as connection:
        found = [one for one, _ in replays.latest(connection, limit=LISTED_MAX)]
    return [ReplayProgress(replay_id=one.id, **_progress(site, one)) for one in found]


@act("replay.select", OPERATORS, path=ActPath("select_students", "POST", "/replays/select"))
def select(site: Configured, _actor: Actor, request: ReplaySelectionRequest) -> ReplaySelection:
    """Find the students of a selection.

    Raises:
        UnknownTarget, UnclearSelection: it selects nothing that could be found.
    """
    consumer = request.consumer
    _check_consumer(site, consumer)
    try:
        selection = Selection(**request.model_dump(exclude={"consumer"}))
    except ValueError as error:
        raise UnclearSelection(str(error)) from error
    found = select_students(site.database, consumer, selection)
    bulk = selection.everybody or selection.timed
    nobody = ""
    if selection.cause is not None and not found.students:
        nobody = _no_such_cause(site, consumer, selection.cause)
    return ReplaySelection(
        consumer=consumer,
        students=found.students,
        unknown=found.unknown,
        not_activated=found.not_activated,
        nobody=nobody,
        lane=Lane.BULK if bulk else Lane.PERSONAL,
        failed_before=_failed_before(site, consumer, found.students),
    )


@act("replay", OPERATORS, path=ActPath("begin_replay", "POST", "/replays", 202))
def replay(
    site: Replaying,
    actor: Actor,
    request: ReplayRequest,
    clock: Callable[[], datetime],
    *,
    draw: Callable[[Sequence[str], int], list[str]] = _LOT.sample,
) -> BeginReplayReport:
    """Ask a consumer to compare students with its target and write differences.

    Raises:
        UnknownTarget, NobodyToReplay, FailedBefore: nothing was published.
        StoreRestored: likewise, until an operator has checked.
        ReplayUnderWay, LogUnavailable: some may have been published; resume later.
    """
    _check_consumer(site, request.consumer)
    admit(site, works=False)
    if not request.students:
        raise NobodyToReplay
    students = request.students
    if not request.again and (count := _failed_before(site, request.consumer, students)):
        raise FailedBefore(
            failed_before_question(count),
            remedy=gettext("Mend the cause, look at what a replay would change, then say that it is mended."),
        )
    if request.canary is not None:
        drawn = dict.fromkeys(draw(students, min(request.canary, len(students))))
        students = (*drawn, *(number for number in students if number not in drawn))
    planned = plan(
        students,
        consumer=request.consumer,
        reason=request.reason,
        actor=actor.name,
        lane=request.lane,
        database=site.database,
        per_s=request.per_s or PER_S,
        incident=request.incident,
    )
    return _ask(site, planned, request.canary or request.first, clock)


@act("replay.standing", OPERATORS)
def standing(site: Stored, _actor: Actor, request: ResumeReplayRequest) -> ReplayStanding:
    """The progress of a replay.

    Raises:
        NoSuchReplay: no replay has this id.
    """
    planned = _known(site, request.replay_id)
    progress = _progress(site, planned)
    with site.database.read() as connection:
        limit = request.first or planned.students
        following = tuple(replays.open_students(connection, planned.id, limit=limit))
        ended = replays.outcomes(connection, planned.id)
    failures = [number for number, outcome in ended.items() if outcome == replays.FAILED]
    return ReplayStanding(
        **progress,
        per_s=planned.per_s,
        failures=tuple(sorted(failures)[:FAILURES_MAX]),
        next=following,
    )


@act("replay.stop", OPERATORS, path=ActPath("stop_replay", "POST", "/replays/{replay_id}/stop", 204))
def stop(site: Stored, actor: Actor, replay_id: str) -> None:
    """Stop publishing a replay's requests, in every process; `resume` continues it.

    What was already published is carried out.

    Raises:
        NoSuchReplay: no replay has this id.
    """
    planned = _known(site, replay_id)
    acts.note(site.database, actor, "replay.stop", replay_id=planned.id, consumer=planned.consumer)
    with site.database.write() as connection:
        replays.stop(connection, planned.id, at=site.database.now(connection))


@act("replay.resume", OPERATORS, path=ActPath("resume_replay", "POST", "/replays/resume", 202))
def resume(
    site: Replaying, actor: Actor, request: ResumeReplayRequest, clock: Callable[[], datetime]
) -> BeginReplayReport:
    """Publish the remaining requests of a replay.

    Raises:
        NoSuchReplay: no replay has this id.
        StoreRestored: nothing is published until an operator has checked.
        ReplayUnderWay, LogUnavailable: some may have been published; resume later.
    """
    admit(site, works=False)
    planned = _known(site, request.replay_id)
    acts.note(site.database, actor, "replay.resume", replay_id=planned.id, consumer=planned.consumer)
    with site.database.write() as connection:
        replays.stop(connection, planned.id, at=None)
    return _ask(site, replace(planned, per_s=request.per_s or planned.per_s), request.first, clock)


def failed_before_question(count: int) -> str:
    """The question to confirm a replay of so many students whose last one failed."""
    return ngettext(
        "{n} of them was replayed in vain before: is the cause mended?",
        "{n} of them were replayed in vain before: is the cause mended?",
        count,
    )


def _failed_before(site: Stored, consumer: str, students: Sequence[str]) -> int:
    """Count these students whose last replay failed and who are still given up."""
    with site.database.read() as connection:
        failed = replays.failed_last(connection, consumer, students)
        return len(dead_letters.students_with_some(connection, consumer, sorted(failed)))


def _ask(
    site: Replaying, planned: Replay, first: int | None, clock: Callable[[], datetime]
) -> BeginReplayReport:
    asked = go_on(planned, producer=site.producer, database=site.database, clock=clock, first=first)
    now = progress_of(site.database, planned)
    return BeginReplayReport(
        consumer=planned.consumer,
        students=now.students,
        asked_now=asked,
        asked=now.asked,
        replay_id=planned.id,
    )


def _known(site: Stored, replay_id: str) -> Replay:
    with site.database.read() as connection:
        found = replays.by_id(connection, replay_id)
    if found is None:
        raise NoSuchReplay(gettext("no replay {id!r}", id=replay_id))
    return found


def replayable(site: Configured) -> tuple[str, ...]:
    """The names of the targets, and of the registry, that replays take."""
    return (*site.settings.targets, REGISTRY)


def _check_consumer(site: Configured | Replaying, consumer: str) -> None:
    """Check that this is a target, the registry or the consumer of a receiver. Raises `UnknownTarget`."""
    if not works_without_target(site, consumer):
        check_target(site, consumer)


def _no_such_cause(site: Stored, consumer: str, cause: str) -> str:
    """Why a cause selects no student, and which causes there are."""
    with site.database.read() as connection:
        counts = dead_letters.counts(connection)
    there = {c: count for (of, c), count in sorted(counts.items()) if of == consumer and c != cause}
    known = cause in explanations() or any(c == cause for _, c in counts)
    said = (
        f"{consumer} has no dead letter of a student with the cause {cause!r}"
        if known
        else f"there is no cause {cause!r}"
    )
    listed = ", ".join(f"{c} ({count})" for c, count in there.items())
    return f"{said}; " + (f"those of {consumer}: {listed}" if there else f"{consumer} has no dead letters")


def _progress(site: Stored, one: Replay) -> dict[str, Any]:
    """The fields that `ReplayProgress` and `ReplayStanding` share."""
    now = progress_of(site.database, one)
    return {
        "consumer": one.consumer,
        "begun_at": utc(one.begun_at),
        "actor": one.actor,
        **asdict(now),
        "under_way": now.under_way,
        "incident": one.incident,
        "stopped": one.stopped_at is not None,
    }
