"""Act: rehearse the coming first Monday."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from pipeline.errors import SesameError
from schemas.language import gettext, local, local_time
from sesame.acts.acts import OFFICE, Actor, ActRequest, act, utc
from sesame.acts.ports import Following, check_target
from sesame.operations.work.forecast.report import Coming, Forecast, forecast
from sesame.operations.work.rehearsal import shape, twin
from sesame.settings import folders

ANSWER: Final = "rehearsal.json"
_SEPTEMBER: Final = 9


class Outage(ActRequest):
    """A target that is down. `begins_s`: after the first student came."""

    target: str
    begins_s: Annotated[float, Field(ge=0)]
    seconds: Annotated[float, Field(gt=0)]


class RehearseRequest(ActRequest):
    """What to rehearse.

    Attributes:
        folder: where the twin is written; it is made, and the files of an earlier one are replaced. None:
            `rehearsal` in the site's data folder.
        students: who come; None: as many as on last year's day, or all if nobody came yet.
        at: when the first one comes, in epoch seconds; None: the first Monday of September, at the time of
            day of last year's first one.
        at_once: all come at once.
        outages: planned ones, besides those that come by chance.
    """

    folder: Path | None = None
    students: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    at: float | None = None
    at_once: bool = False
    outages: tuple[Outage, ...] = ()


class Rehearsal(Forecast):
    """The day, played in simulated time.

    Attributes:
        folder: where the twin is.
        like: the day whose curve it has; None: all come at once.
        seconds: from the first one who comes until everybody is done; None: it cannot be told.
    """

    folder: str
    like: datetime | None
    seconds: float | None


class RehearsalUnfit(SesameError):
    """Nothing can be rehearsed so. See `sesame rehearse --help`."""

    exit_code = 2


@act("rehearsal.play", OFFICE)
def rehearse(
    site: Following, _actor: Actor, request: RehearseRequest, *, clock: Callable[[], datetime]
) -> Rehearsal:
    """Write a twin of the site, and play its first Monday in simulated time.

    Raises:
        RehearsalUnfit: nobody is enrolled, or the time is past.
        UnknownTarget: of an outage.
        FolderUnusable: the twin cannot be written.
    """
    for each in request.outages:
        check_target(site, each.target)
    now = clock()
    if request.at is not None and request.at <= now.timestamp():
        raise RehearsalUnfit(gettext("{at} is past", at=local_time(utc(request.at))))
    with site.database.read() as connection:
        found, unlike = shape.read(connection, now.timestamp())
    if not found.students:
        raise RehearsalUnfit(
            gettext("nobody has an account and an enrolment"),
            remedy=gettext("Import a registrar's file first."),
        )
    curve = None if request.at_once else found.curve
    students = request.students or (found.curve.students if found.curve else found.students)
    begins = request.at or _first_monday(now, found.curve).timestamp()
    folder = request.folder or site.settings.data_dir / "rehearsal"
    folders.make(folder)
    try:
        twin.write(folder, found, students, unlike, at_once=curve is None)
        told = forecast(site, _coming(request, curve, students, begins))
        seconds = None if told.done_at is None else (told.done_at - told.at).total_seconds()
        answer = Rehearsal(
            **dict(told),
            folder=str(folder),
            like=None if curve is None else curve.began,
            seconds=seconds,
        )
        (folder / ANSWER).write_text(answer.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise folders.FolderUnusable(
            gettext("{file} cannot be written: {why}", file=folder, why=error.strerror)
        ) from error
    return answer


def _coming(request: RehearseRequest, curve: shape.Curve | None, students: int, begins: float) -> Coming:
    outages: dict[str, list[tuple[float, float]]] = {}
    for each in sorted(request.outages, key=lambda each: each.begins_s):
        outages.setdefault(each.target, []).append((each.begins_s, each.seconds))
    return Coming(students, begins, () if curve is None else curve.points, outages)


def _first_monday(now: datetime, curve: shape.Curve | None) -> datetime:
    """The first Monday of September, at 8:00 or when last year's first one came."""
    here = local(now)
    came = curve.began if curve is not None else here.replace(hour=8, minute=0, second=0)
    days = (
        local(datetime(year, _SEPTEMBER, 1, came.hour, came.minute))  # noqa: DTZ001 (the site's zone)
        for year in (here.year, here.year + 1)
    )
    mondays = (first + timedelta(days=-first.weekday() % 7) for first in days)
    return next(day for day in mondays if day > here)
