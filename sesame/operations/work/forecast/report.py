"""When everybody is done, from the queues and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from pipeline import parking, status, throughput
from schemas.language import gettext, local_time
from sesame.acts.acts import Report, utc
from sesame.acts.ports import Following
from sesame.operations.people.diagnosis import population, processes
from sesame.operations.people.diagnosis.population import OUTSTANDING
from sesame.operations.work.forecast import model, promises
from sesame.operations.work.forecast.history import TargetHistory, histories
from sesame.operations.work.forecast.model import Drawn, Queue
from sesame.operations.work.forecast.promises import Promise


class TargetForecast(Report):
    """One target. `rate`: students per second; None: unknown, by the `cause` if any."""

    students: int
    rate: float | None
    done_at: datetime | None
    cause: str | None = None


class ForecastChange(StrEnum):
    """What would make a target faster."""

    WORKER = "one_more_worker"
    WORKERS = "two_more_workers"
    BATCH = "twice_the_batch"
    QUOTA = "one_more_application"


class WhatIf(Report):
    """A change at the brake, and what it gives at best. `longest_wait_s`: in seconds."""

    target: str
    change: ForecastChange
    done_at: datetime
    longest_wait_s: float


class Forecast(Report):
    """When everybody is done.

    Attributes:
        at: when the work begins.
        students: most that wait for one target.
        done_at: the median; `low` and `high` hold the truth in 80 of 100 cases. None: it cannot be told, for
            the `cause`.
        longest_wait_s: of one who comes, in seconds; of who is under way now, from now on.
        brake: the target with the longest wait; None: nothing is to do, or it cannot be told.
        what_if: changes at the brake.
        promises: earlier forecasts, and what happened, the newest first.
    """

    at: datetime
    students: int
    done_at: datetime | None
    low: datetime | None
    high: datetime | None
    longest_wait_s: float | None
    brake: str | None
    cause: str | None
    targets: Mapping[str, TargetForecast]
    what_if: tuple[WhatIf, ...]
    promises: tuple[Promise, ...]


@dataclass(frozen=True)
class Coming:
    """Work to come.

    Attributes:
        students: who come, at `begins` (epoch seconds; None: now).
        arrivals: how they come: after so many seconds, which share of them; empty: all at once.
        outages: planned ones of each target: after how many seconds, and how long.
    """

    students: int = 0
    begins: float | None = None
    arrivals: Sequence[tuple[float, float]] = ()
    outages: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


def forecast(site: Following, coming: Coming = Coming()) -> Forecast:
    """Forecast the end of all work."""
    with site.database.read() as connection:
        now = site.database.now(connection)
        queues, causes = _queues(site, connection)
        kept = promises.latest(connection)
    start = max(now, coming.begins or now)
    if start > now:  # who is down or halted now is not then
        causes.clear()
    done = {name: rate * (start - now) for name, rate in _rates(queues, now).items()}
    busy = {
        name: replace(
            queue,
            students=max(0.0, queue.students - done.get(name, 0.0)) + coming.students,
            arrivals=[(at, share * coming.students) for at, share in coming.arrivals],
            outages=coming.outages.get(name, ()),
        )
        for name, queue in queues.items()
    }
    for name, queue in busy.items():
        if queue.students and name not in causes and (cause := _unknown(queue.history, start)):
            causes[name] = cause
    unsure = {name: cause for name, cause in causes.items() if busy[name].students}
    told = {name: queue for name, queue in busy.items() if not unsure.keys() & {name, queue.follows}}
    drawn = model.draw(told, start)
    rates = _rates(busy, start)
    targets = {}
    for name, queue in busy.items():
        is_told = name in told or not queue.students
        targets[name] = TargetForecast(
            students=round(queue.students),
            rate=round(rates[name], 2) if name in rates else None,
            done_at=utc(start + drawn.targets.get(name, 0.0)) if is_told else None,
            cause=unsure.get(name),
        )
    is_sure = not unsure
    return Forecast(
        at=utc(start),
        students=max((each.students for each in targets.values()), default=0),
        done_at=utc(start + drawn.median) if is_sure else None,
        low=utc(start + drawn.low) if is_sure else None,
        high=utc(start + drawn.high) if is_sure else None,
        longest_wait_s=round(drawn.wait, 1) if is_sure else None,
        brake=drawn.brake if is_sure else None,
        cause=next((f"{name}: {cause}" for name, cause in unsure.items()), None),
        targets=targets,
        what_if=tuple(_changes(told, drawn, start)) if is_sure else (),
        promises=tuple(kept),
    )


def _queues(site: Following, connection: Connection) -> tuple[dict[str, Queue], dict[str, str]]:
    """Each target's queue, and why nothing can be told of some."""
    settings = site.settings
    counted = population.population(connection, settings.targets, site.follows)
    running = processes.consumers(connection, site.database, settings.consumers)
    retried = dict.fromkeys(settings.targets, 0)
    for each in parking.retries(connection):
        retried[each.consumer] = retried.get(each.consumer, 0) + each.students
    stretches = {target: throughput.stretches(connection, target) for target in settings.targets}
    measured = histories(stretches, slots=settings.engine.slots - 1)
    queues, causes = {}, {}
    for target in settings.targets:
        consumer = running[target]
        alive = [each for each in consumer.processes if not each.silent and each.state != "stopped"]
        working = [each for each in alive if each.state not in _NOT_WORKING]
        known = measured[target]
        is_down = any(each.state in status.DOWN for each in working)
        if not working:
            causes[target] = consumer.reason or consumer.state
        elif is_down and not any(rush.outages for rush in known.rushes):
            causes[target] = gettext("it is down, and no outage of it has been measured yet")
        queues[target] = Queue(
            known,
            max(0, counted.targets[target].get(OUTSTANDING, 0) - retried[target]),
            max(1, len(working)),
            follows=site.follows.get(target),
            is_down=is_down,
        )
    return queues, causes


_WORTH: Final = 0.98
"""A change that gives less is none: draws differ by as much."""
_NOT_WORKING: Final = status.HALTED | {"hanging"}


def _rates(queues: Mapping[str, Queue], at: float) -> dict[str, float]:
    return model.rates(
        {name: queue for name, queue in queues.items() if _unknown(queue.history, at) is None}, at
    )


def _unknown(known: TargetHistory, start: float) -> str | None:
    """Why nothing can be told of a target; None: it can."""
    if (two := known.contradictory(start)) is not None:
        slow, fast = two
        return gettext(
            "it took {slow} students/s on {then} and {fast} on {later}: no mean of them is true",
            slow=f"{slow.rate:.3g}",
            then=local_time(utc(slow.began)),
            fast=f"{fast.rate:.3g}",
            later=local_time(utc(fast.began)),
        )
    if known.basis(start):
        return None
    if known.rushes and not any(rush.rate for rush in known.rushes):
        return gettext("it never answered while work waited for it")
    return gettext("it has never been measured with work waiting: its first rush is measured from now on")


def _changes(queues: Mapping[str, Queue], drawn: Drawn, start: float) -> Iterator[WhatIf]:
    """What each change at the brake would give; what would give nothing is left out."""
    if (brake := drawn.brake) is None:
        return
    queue = queues[brake]
    changed = {
        ForecastChange.WORKER: replace(queue, workers=queue.workers + 1),
        ForecastChange.WORKERS: replace(queue, workers=queue.workers + 2),
    }
    if (faster := queue.history.longer_batch()) is not None:
        changed[ForecastChange.BATCH] = replace(queue, faster=faster)
    if queue.history.bound(start):
        changed[ForecastChange.QUOTA] = replace(queue, quotas=2.0)
    for change, then in changed.items():
        told = model.draw({**queues, brake: then}, start)
        if told.wait < _WORTH * drawn.wait:
            yield WhatIf(
                target=brake,
                change=change,
                done_at=utc(start + told.median),
                longest_wait_s=round(told.wait, 1),
            )
