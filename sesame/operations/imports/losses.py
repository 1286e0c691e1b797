"""Losses that an import would bring: what its approval decides about."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.people import People
from pipeline.errors import SesameError
from sesame.acts.acts import Actor, Report, check, note_look, shown
from sesame.acts.ports import Configured, Stored


class OtherCount(SesameError):
    """The number typed is not that of the persons concerned. Nothing was approved. Read the loss again; if
    it is right, type its number."""


class YearLoss(Report):
    """One academic year's people, as in `guard.YearFigures`.

    `percent`: the affected of the known ones, rounded up.
    """

    year: int
    known: int
    affected: int
    losing: int
    lost_lately: int
    percent: int


class ImportLoss(Report):
    """What approving an import means.

    Attributes:
        people: how many it concerns, as they are typed to approve it; of a file that was misread, its refused
            lines.
        years: those in which the guard holds it.
        percent, people_max: the guard's bounds.
        until: the last day of access of a student who loses the last enrolment today.
        shut_today: targets that do not wait for that day.
    """

    people: int
    years: tuple[YearLoss, ...]
    percent: int
    people_max: int
    today: date
    until: date
    shut_today: tuple[str, ...]

    @property
    def losing(self) -> int:
        """How many people lose an enrolment, its force, or a teaching unit."""
        return sum(year.losing for year in self.years)


def loss_of(site: Configured, years: Sequence[Mapping[str, Any]], refused: int, today: date) -> ImportLoss:
    """The loss of an import that the guard holds.

    Args:
        years: `YearFigures.to_json` of each.
        refused: how many lines it refuses.
        today: the day on which it would be approved.
    """
    settings = site.settings
    rules, bounds = settings.lifecycle, settings.registrar.threshold
    lifecycle = Lifecycle(settings.registry, rules)
    over = tuple(_year(year) for year in years if year["over_threshold"])
    return ImportLoss(
        people=sum(year.affected for year in over) or refused,
        years=over,
        percent=round(100 * bounds.share),
        people_max=bounds.people,
        today=today,
        until=lifecycle.grace_ends(today, ()),
        shut_today=tuple(lifecycle.shut_in_grace),
    )


def check_typed(people: int, loss: ImportLoss) -> None:
    """Check the number that was typed to approve a loss. Raises `OtherCount`."""
    if people != loss.people:
        raise OtherCount


def _year(given: Mapping[str, Any]) -> YearLoss:
    kept = {name: given[name] for name in YearLoss.model_fields if name != "percent"}
    return YearLoss(**kept, percent=-(-100 * given["affected"] // max(1, given["known"])))


def names_of(site: Stored, actor: Actor, file: str, students: Collection[str]) -> dict[str, str]:
    """The names of those whom the registry knows, of some hundreds of students; audited."""
    check(actor, "import")
    with site.database.read() as connection:
        known = People(site.database).known_among(connection, students)
    found = {number: person.identity for number, person in known.items()}
    if seen := shown(found):
        note_look(site.database, actor, "import.explain", file=file, **seen)
    return {number: identity.full_name for number, identity in found.items()}
