"""Acts: when everybody is done, as things are or after a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pipeline.errors import SesameError
from schemas.language import gettext, local_time
from sesame.acts.acts import EVERYBODY, OFFICE, Actor, ActPath, ActRequest, act, utc
from sesame.acts.ports import Following, Registering
from sesame.operations.imports.acts import ImportRequest, import_files
from sesame.operations.work.forecast import promises
from sesame.operations.work.forecast.promises import Promise
from sesame.operations.work.forecast.report import Coming, Forecast, forecast


class ForecastRequest(ActRequest):
    """What to forecast.

    Attributes:
        file: the registrar's file to come; each of its students whom it would change is one more for each
            target, as if all were activated.
        profile: how it is written; None: the settings'.
        at: when the work begins, in epoch seconds; None: now.
    """

    file: Path | None = None
    profile: str | None = None
    at: float | None = None


class ForecastUnfit(SesameError):
    """Nothing can be forecast for this time. Name one to come: `--at 2026-09-01T08:00`."""

    exit_code = 2


@act("forecast.show", EVERYBODY, path=ActPath("show_forecast", "GET", "/forecast"))
def show(site: Following, _actor: Actor) -> Forecast:
    """When everybody is done who is under way, with an 80 % interval."""
    return forecast(site)


class Forecasting(Following, Registering, Protocol):
    """A site whose targets and files are known."""


@act("forecast.coming", OFFICE)
def show_coming(
    site: Forecasting, actor: Actor, request: ForecastRequest, *, clock: Callable[[], datetime]
) -> Forecast:
    """When everybody is done of work to come, perhaps with a file's students.

    Raises:
        ForecastUnfit: the time is past.
        UnusableFile, UnknownProfile, MappingUnusable: of the file.
    """
    if request.at is not None and request.at <= clock().timestamp():
        raise ForecastUnfit(gettext("{at} is past", at=local_time(utc(request.at))))
    more = 0
    if request.file is not None:
        dry = ImportRequest(file=request.file, profile=request.profile, dry_run=True, passing=True)
        [report] = import_files(site, actor, dry, clock=clock, progress=lambda *_: None).reports
        more = min(report.students, report.recorded + report.cancelled + report.gone)
    return forecast(site, Coming(more, request.at))


def keep_promise(site: Following) -> None:
    """Keep a forecast while many are under way, and note which ones have happened."""
    database = site.database
    with database.write() as connection:
        now = database.now(connection)
        promises.settle(connection, now)
        if not promises.is_due(connection, now):
            return
    found = forecast(site)
    if found.done_at is None or found.low is None or found.high is None or found.brake is None:
        return
    promise = Promise(
        made_at=found.at,
        students=found.students,
        done_at=found.done_at,
        low=found.low,
        high=found.high,
        brake=found.brake,
        happened_at=None,
    )
    with database.write() as connection:
        promises.keep(connection, promise)
