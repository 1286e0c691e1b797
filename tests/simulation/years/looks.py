"""The recurring checks, and each year's figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from typing import Final

from pipeline import accounts
from pipeline.dead_letters import rows as dead_letters
from pipeline.eventlog.port import TopicPartition
from pipeline.target_states import State, states_of
from schemas import catalogue
from schemas.account import Account, Stage
from schemas.envelope import from_record
from tests.simulation.years.campus import NAMES, CampusWorld
from tests.simulation.years.truth import Student

FIRST: Final = 2026


@dataclass
class Year:
    """The events of one academic year; `wrong`: invariants that did not hold."""

    year: int
    entries: int = 0
    returns: int = 0
    changes: int = 0
    leaves: int = 0
    holds: int = 0
    expired: int = 0
    erased: int = 0
    held: int = 0
    kept_open: int = 0
    drift: int = 0
    killed: int = 0
    records: int = 0
    wrong: int = 0


def table(years: list[Year]) -> str:
    names = [field.name for field in fields(Year)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    lines += ["| " + " | ".join(f"{getattr(year, name)}" for name in names) + " |" for year in years]
    return "\n".join(lines)


class Inspector:
    """Checks everything, by the registrar's truth. `year_of`: the counters of a day."""

    def __init__(
        self, world: CampusWorld, students: dict[str, Student], year_of: Callable[[date], Year]
    ) -> None:
        self.world, self.students, self.year_of = world, students, year_of
        self._names: dict[str, str] = {}
        self._completions: dict[tuple[str, int], str] = {}
        self._seen: dict[TopicPartition, int] = {}

    def broken(self, day: date) -> Iterator[str]:
        """Broken promises, in words, since the last look."""
        yield from self.world.site.ended_by
        self.world.site.ended_by.clear()
        yield from self._versions(day)
        self.world.site.disk.minted.clear()
        yield from self._states()
        yield from self._records(day)
        for cabinet in self.world.campus.cabinets.values():
            for promises in (cabinet.went_back, cabinet.not_compared, cabinet.not_so, cabinet.not_told):
                yield from promises
                promises.clear()
            yield from self._objects(cabinet.name, day)

    def _versions(self, day: date) -> Iterator[str]:
        """Each version once, in order; names stay one student's. No enrolled student is closed."""
        for each in self.world.site.disk.minted:
            account = Account.model_validate_json(each.document)
            before = None if each.before is None else Account.model_validate_json(each.before)
            who = f"{account.student_number} version {account.version}"
            if account.version != (1 if before is None else before.version + 1):
                yield f"{who} came after {0 if before is None else before.version}"
            for name in (account.login, account.mail, *account.aliases):
                if self._names.setdefault(name, account.student_number) != account.student_number:
                    yield f"{who} has a name of {self._names[name]}"
            if before is not None and before.stage is Stage.GRACE and account.stage is Stage.EXPIRED:
                self.year_of(day).expired += 1
                if self.students[account.student_number].enrolled(day):
                    yield f"{who} was closed, and is enrolled"
            if account.stage is Stage.ERASED and (before is None or before.stage is not Stage.ERASED):
                self.year_of(day).erased += 1

    def _states(self) -> Iterator[str]:
        """Nothing is lost: at rest, activated accounts are everywhere at their newest."""
        with self.world.site.database.read() as connection:
            for letter in dead_letters.unresolved(connection):
                yield f"a dead letter of {letter.consumer} ({letter.cause})"
            numbers = sorted(self.students)
            for start in range(0, len(numbers), 500):
                page = numbers[start : start + 500]
                newest = accounts.newest(connection, page)
                for name in NAMES:
                    states = states_of(connection, name, page)
                    for number, account in newest.items():
                        state = states.get(number)
                        if account.activated_at is None or account.stage is Stage.PRECREATED:
                            continue
                        if (
                            state is None
                            or state.state is not State.PROVISIONED
                            or state.applied_version != account.version
                        ):
                            yield f"{name} has {number} at {state}, the account is at {account.version}"

    def _records(self, day: date) -> Iterator[str]:
        """No person on the log but in the registrar's facts. One completion for each version."""
        person = re.compile(rb"Nom[a-j]|nom[a-j]|Pre[a-j]")
        count = 0
        for tp, part in self.world.site.log.records.items():
            seen = self._seen.get(tp, 0)
            for record in part[seen:]:
                count += 1
                if tp.topic != catalogue.ENROLMENTS and person.search(record.value):
                    yield f"a person on {tp.topic}"
                if tp.topic == catalogue.PROPAGATION:
                    message = from_record(record.key, record.headers, record.value)
                    who = (record.key, getattr(message.event, "version", 0))
                    if (
                        "completed" in message.event.type
                        and self._completions.setdefault(who, message.id) != message.id
                    ):
                        yield f"{who} is complete twice"
            self._seen[tp] = len(part)
        self.year_of(day).records += count

    def _objects(self, name: str, day: date) -> Iterator[str]:
        objects = self.world.campus.cabinets[name].objects
        yield from (
            f"{name} has an object of nobody: {number}" for number in objects.keys() - self.students.keys()
        )
        for number, student in self.students.items():
            fate, found = student.fate(name, day), objects.get(number)
            if fate is None:
                continue
            has = "absent" if found is None else "open" if found.open else "shut"
            if has != fate:
                yield f"{name} has {number} {has}, and should have it {fate}"
            elif found is not None and fate == "open" and dict(found.fields) != student.fields(day):
                yield f"{name} shows of {number} {found.fields}, and should show {student.fields(day)}"
