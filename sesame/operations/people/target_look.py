"""Read one student's objects from a target, and compare them with what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Final

from pydantic import Field

from consumers.kit.connector import Anything, Held, Refused, TargetObject, find_own
from consumers.kit.deadline import Deadline
from pipeline import accounts
from schemas.account import Account
from sesame.acts.acts import DESK, Actor, ActRequest, Report, act, shown
from sesame.acts.ports import Diagnosable, HasConnectors, check_target
from sesame.operations.people.diagnosis.live import at_once

LOOK_S_MAX: Final = 8.0
_SECRET: Final = ("password", "credential")


class ObservedObject(Report):
    """One object, as the target has it: Sésame's fields, without passwords'.

    Attributes:
        ref: the target's own name of it.
        student_number: the one that it carries; empty: none.
        open: whether its owner may use it; None: the target knows no such thing.
        evidence: what else tells whose it is.
    """

    ref: str
    student_number: str
    open: bool | None
    fields: Mapping[str, tuple[str, ...]]
    evidence: Mapping[str, str]


class FieldComparison(Report):
    """One field, as it is there and as wanted; None: no value is wanted."""

    name: str
    there: tuple[str, ...]
    wanted: tuple[str, ...] | None

    @property
    def differs(self) -> bool:
        """Whether a turn would write it."""
        return self.wanted is not None and self.there != self.wanted


class TargetLook(Report):
    """A student at a target.

    Attributes:
        objects: those that carry the number, or hold a name that the account wants.
        wanted: the account's fields there; empty: the target could not be asked.
        obstacle: why it cannot be given, as a token; empty: it can.
        unseen: why nothing is known.
    """

    target: str
    objects: tuple[ObservedObject, ...] = ()
    wanted: Mapping[str, tuple[str, ...]] = {}
    obstacle: str = ""
    unseen: str = ""

    @property
    def conforms(self) -> bool:
        """Whether it is as wanted: one equal object, or none where none is wanted."""
        if self.unseen or self.obstacle or len(self.objects) > 1:
            return False
        if not self.objects:
            return not any(self.wanted.values())
        return not any(field.differs for field in self.beside(self.objects[0]))

    def beside(self, found: ObservedObject | None) -> list[FieldComparison]:
        """Compare an object's fields with the wanted ones; None: there is no object yet."""
        there = {} if found is None else found.fields
        return [
            FieldComparison(name=name, there=there.get(name, ()), wanted=self.wanted.get(name))
            for name in sorted({*there, *self.wanted})
        ]


class HoldersRequest(ActRequest):
    """Students to whom a target may refuse their names."""

    target: str
    students: Annotated[tuple[str, ...], Field(max_length=100)]


@act("target.holders", DESK, shows=lambda _found, asked: shown(asked.students, target=asked.target))
def holders(
    site: Diagnosable, _actor: Actor, request: HoldersRequest
) -> dict[str, tuple[ObservedObject, ...]]:
    """By student, the objects in the way: others with a name of theirs, or several with their number.

    Raises:
        UnknownTarget: the settings name no such target.
        TargetDown, Throttled, Misconfigured: the target cannot be read.
    """
    check_target(site, request.target)
    with site.database.read() as connection:
        known = {
            n: each.at(request.target) for n, each in accounts.newest(connection, request.students).items()
        }
    found: dict[str, tuple[ObservedObject, ...]] = {}
    with site.connector(request.target) as connector, connector.adopted_refs.once(list(known)) as adopted:
        for number, seen in connector.read(list(known.values()), Deadline.after(LOOK_S_MAX)).items():
            if not isinstance(seen, Held | Refused):
                own = find_own(known[number], seen, adopted.get(number))
                others = [one for one in seen if len(own) > 1 or one not in own]
                found[number] = tuple(_there(one, connector) for one in others)
    return found


def look_at(site: HasConnectors, targets: Sequence[str], account: Account) -> list[TargetLook]:
    """Query these targets' servers at once; failures become `unseen`, none is raised."""
    asked = {target: partial(_seen, site, target, account.at(target)) for target in targets}
    found, unseen = at_once(asked, LOOK_S_MAX)
    return [found.get(target) or TargetLook(target=target, unseen=unseen[target]) for target in targets]


def _seen(site: HasConnectors, target: str, account: Account) -> TargetLook:
    with site.connector(target) as connector:
        seen = connector.read([account], Deadline.after(LOOK_S_MAX))[account.student_number]
        wanted = connector.wanted(account)
    objects: tuple[ObservedObject, ...] = ()
    obstacle, fields = wanted.held, wanted.fields
    if isinstance(seen, Held | Refused):
        obstacle = seen
    else:
        objects = tuple(_there(one, connector) for one in seen)
        if not objects and not account.access_open:
            obstacle, fields = None, {}  # nothing is made for a shut access, and nothing is left to shut
    told = "" if obstacle is None else obstacle.cause if isinstance(obstacle, Refused) else obstacle.reason
    return TargetLook(target=target, objects=objects, wanted=_shown(fields, connector), obstacle=told)


def _there(found: TargetObject, connector: Anything) -> ObservedObject:
    return ObservedObject(
        ref=found.ref,
        student_number=found.student_number,
        open=found.open,
        fields=_shown(found.fields, connector),
        evidence=dict(found.evidence),
    )


def _shown(fields: Mapping[str, tuple[str, ...]], connector: Anything) -> dict[str, tuple[str, ...]]:
    hidden = (connector.credential, *connector.private)
    return {
        name: tuple(map(str, values))
        for name, values in fields.items()
        if name not in hidden and not any(each in name.lower() for each in _SECRET)
    }
