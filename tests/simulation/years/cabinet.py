"""A target in memory, and a connector on the kit over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from consumers.kit.connector import (
    Change,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
)
from consumers.kit.deadline import Deadline
from consumers.kit.settings import ClientSettings
from pipeline.errors import TargetDown
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.schedule import Schedule
from tests.simulation.targets.target import Fate, Target
from tests.simulation.weather import Weather


@dataclass
class Counts:
    """Counts of changes to a target's objects."""

    made: int = 0
    erased: int = 0


class Cabinet(Target):
    """Objects by student number, which outlive the processes. It makes no object twice."""

    def __init__(self, name: str, schedule: Schedule, weather: Weather) -> None:
        super().__init__(name, schedule, weather)
        self.objects: dict[str, TargetObject] = {}
        self.counts = Counts()

    def differs(self, account: Account) -> str:
        """See `Target.differs`: a look at what was read back, by the account as data."""
        found = self.objects.get(account.student_number)
        at = account.at(self.name)
        if at.stage == "erased":
            return "object" if found is not None else ""
        if found is None:
            return "object" if oracle.access(at) else ""
        wrong = {
            name for name, values in shown(account).items() if tuple(found.fields.get(name, ())) != values
        }
        wrong |= {"access"} if found.open is not oracle.access(at) else set()
        return ", ".join(sorted(wrong))

    def obstacle(self, account: Account) -> oracle.Obstacle | None:
        """See `Target.obstacle`: there is none here."""
        return None


def shown(account: Account) -> dict[str, tuple[str, ...]]:
    return {
        "login": (account.login,),
        "name": (f"{account.person.given_name} {account.person.usage_name or account.person.birth_name}",),
        "mail": (account.mail,),
        "aliases": tuple(sorted(account.aliases)),
        "cohorts": tuple(sorted(each.key for each in account.cohorts if each.met)),
    }


class CabinetConnector(Connector[ClientSettings]):
    """See `Connector`."""

    section = ClientSettings
    title: ClassVar = {"fr": "L'armoire", "en": "The cabinet"}
    owns = ("login", "name", "mail", "aliases", "cohorts")

    def __init__(self, context: ConnectorContext[ClientSettings], cabinet: Cabinet) -> None:
        super().__init__(context)
        self.cabinet = cabinet

    def wanted(self, account: Account) -> Wanted:
        return Wanted(shown(account))

    def read(self, accounts: Sequence[Account], _deadline: Deadline) -> Mapping[str, Seen]:
        self.cabinet.meet()
        found = {each.student_number: self.cabinet.objects.get(each.student_number) for each in accounts}
        return {number: () if one is None else (one,) for number, one in found.items()}

    def apply(self, changes: Sequence[Change], _deadline: Deadline) -> Mapping[str, Held | Refused]:
        self.cabinet.meet()
        for change in changes:
            self._write(change.account.student_number, change.fields, change.open)
        return {}

    def close(self, changes: Sequence[Change], _deadline: Deadline) -> Mapping[str, Refused]:
        self.cabinet.meet()
        for change in changes:
            self._write(change.account.student_number, {}, False)
        return {}

    def erase(self, found: Sequence[TargetObject], _deadline: Deadline) -> Mapping[str, Refused]:
        self.cabinet.meet()
        for each in found:
            self._carry_out(each.student_number, partial(self._remove, each.student_number))
        return {}

    def objects(self) -> Iterator[TargetObject]:
        yield from list(self.cabinet.objects.values())

    def probe(self) -> None:
        self.cabinet.probe()

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""

    def _carry_out(self, number: str, effect: Callable[[], object]) -> None:
        fate = self.cabinet.write(number, effect)
        if fate is not Fate.DONE:
            raise TargetDown(f"the answer is {fate.value}", unknown=fate is Fate.UNKNOWN)

    def _remove(self, number: str) -> bool:
        self.cabinet.counts.erased += self.cabinet.objects.pop(number, None) is not None
        return True

    def _write(self, number: str, fields: Mapping[str, tuple[str, ...]], is_open: bool | None) -> None:
        def effect() -> bool:
            before = self.cabinet.objects.get(number)
            if before is None and not fields:
                return True
            self.cabinet.counts.made += before is None
            one = before or TargetObject(ref=number, student_number=number, open=True)
            merged = {name: values for name, values in {**one.fields, **fields}.items() if values}
            self.cabinet.objects[number] = replace(
                one, fields=merged, open=one.open if is_open is None else is_open
            )
            return True

        self._carry_out(number, effect)
