"""Each student's place in the queue: the forecast of everybody, told to one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from consumers.propagation.rows import propagation as p
from schemas.account import Lane
from sesame.acts.ports import Following
from sesame.operations.work.forecast.promises import STUDENTS_MIN
from sesame.operations.work.forecast.report import Forecast, forecast


@dataclass(frozen=True)
class QueuePlaces:
    """The queue and its forecast. `opened`: when each one's window opened, by lane, in order."""

    found: Forecast
    opened: Mapping[str, Sequence[float]]

    def done_at(self, target: str, lane: Lane, opened_at: float) -> datetime | None:
        """When the target has this student: the last one's is the forecast's. None: it cannot be told.

        Persons come first, and by when they acted.
        """
        one = self.found.targets.get(target)
        if one is None or one.done_at is None or not one.students:
            return None
        personal, bulk = (self.opened.get(each, ()) for each in (Lane.PERSONAL, Lane.BULK))
        place = bisect_right(personal, opened_at)
        if lane is Lane.BULK:
            place = len(personal) + bisect_right(bulk, opened_at)
        share = min(1.0, place / max(1, len(personal) + len(bulk)))
        return self.found.at + share * (one.done_at - self.found.at)


def places(site: Following) -> QueuePlaces | None:
    """The queue now; None: too few wait for anybody to look at a clock."""
    with site.database.read() as connection:
        rows = connection.execute(select(p.c.lane, p.c.opened_at).where(p.c.state == "in_progress"))
        opened: dict[str, list[float]] = {}
        for lane, opened_at in rows:
            opened.setdefault(lane, []).append(opened_at)
    if sum(map(len, opened.values())) < STUDENTS_MIN:
        return None
    return QueuePlaces(forecast(site), {lane: sorted(times) for lane, times in opened.items()})
