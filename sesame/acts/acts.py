"""Authorise acts: the roles, the table, and the one place that checks it.

An act is a function `(site, actor, request) -> report`, wherever it is called from: a command, a page, a
route. It needs no more of the site than it names (`ports`), checks the actor's roles, and records in the
audit what it does under the actor's name. Views of persons are recorded here, for all acts that declare
whom they `show`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict

from pipeline import audit
from pipeline.errors import DependencyDown, SesameError
from schemas.language import gettext

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipeline.db.database import Database


class Role(StrEnum):
    """A role at the site. An administrator may do everything."""

    VIEWER = "viewer"
    SUPPORT = "support"
    REGISTRAR = "registrar"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True)
class Actor:
    """Who acts.

    Attributes:
        name: that the audit keeps.
        roles: theirs.
        tell: shows them an additional sentence.
        acts: single acts that they may do, whatever their roles.
    """

    name: str
    roles: frozenset[Role]
    tell: Callable[[str], object] = field(default=lambda _sentence: None, compare=False)
    acts: frozenset[str] = frozenset()


class Report(BaseModel):
    """An act's result. Its JSON is the output of `--json`, and a route's answer."""

    model_config = ConfigDict(frozen=True)


class ActRequest(BaseModel):
    """An act's request. Unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def utc(epoch_s: float) -> datetime:
    """A time of the store, in UTC."""
    return datetime.fromtimestamp(epoch_s, UTC)


def utc_or_none(epoch_s: float | None) -> datetime | None:
    """As `utc`, for what may not have happened."""
    return None if epoch_s is None else utc(epoch_s)


def note(
    database: Database, actor: Actor, action: str, connection: Connection | None = None, /, **detail: object
) -> None:
    """Record an actor's act or view in the audit before it happens.

    Args:
        database: the store.
        actor: who.
        action: as the audit names it, e.g. `provision`.
        connection: the transaction that the act is part of; None: a new one.
        detail: what is needed to understand it later, without names or words of persons; None is left out.

    Raises:
        StoreUnavailable: it was not noted, and must not be done.
    """
    given = {name: value for name, value in detail.items() if value is not None}
    with nullcontext(connection) if connection is not None else database.write() as transaction:
        audit.note(transaction, database, actor=actor.name, action=action, detail=given)


NAMED_MAX = 20
"""Students named in a look's audit entry; of more it has the count and filter."""


def shown(numbers: Iterable[str | None], **wanted: object) -> dict[str, object] | None:
    """Audit detail of a look at several students: count, filter, and numbers if few.

    None: it showed no student.
    """
    named = list(dict.fromkeys(number for number in numbers if number is not None))
    if not named:
        return None
    few = {"student_numbers": named} if len(named) <= NAMED_MAX else {}
    return {"count": len(named), **few, **wanted}


def shown_one(student_number: str, **wanted: object) -> dict[str, object]:
    """The audit detail of a look at one student."""
    return {"student_number": student_number, **wanted}


def note_look(database: Database, actor: Actor, action: str, **detail: object) -> None:
    """Record a look at persons; if that fails, warn the actor and continue.

    A store that is read-only or full is when people must look.
    """
    try:
        note(database, actor, action, **detail)
    except DependencyDown as error:
        actor.tell(gettext("this look is not in the audit: {why}", why=error))


class UnknownTarget(SesameError):
    """This is none of the targets that the settings name."""

    exit_code = 2


class ActRefused(SesameError):
    """The actor's roles do not allow this act. Ask somebody who has one of the roles that do."""

    exit_code = 2


LOOKS: Final = frozenset(
    {
        *("adopt.questions", "adopt.show", "audit.list", "completions.follow"),
        *("dead_letters.list", "dead_letters.page", "dead_letters.show", "diagnose"),
        *("entitlements.explain", "entitlements.preview", "events.poll", "export.card", "export.list"),
        *(
            "group.look",
            "guest.list",
            "hold.list",
            "identity.list",
            "identity.show",
            "import.prove",
            "import.show",
        ),
        *(
            "ledger.addresses",
            "letter.show",
            "lifecycle.held",
            "lifecycle.preview",
            "overview.people",
            "person.look",
            "privacy.receipt",
            "review.show",
        ),
        *("restored.list", "support.look", "target.holders"),
        *("status.show", "students.list", "students.search", "students.show", "students.timeline"),
    }
)
"""Acts that only look, of all that the audit has: they would hide what was done."""

EVERYBODY: Final = frozenset(Role)
STAFF: Final = EVERYBODY - {Role.VIEWER}
"""Roles that may see student numbers: a viewer sees counts, never students."""

DESK: Final = frozenset({Role.SUPPORT, Role.OPERATOR, Role.ADMINISTRATOR})
OFFICE: Final = frozenset({Role.REGISTRAR, Role.OPERATOR, Role.ADMINISTRATOR})
OPERATORS: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
ADMINISTRATORS: Final = frozenset({Role.ADMINISTRATOR})

RIGHTS: Final[dict[str, frozenset[Role]]] = {}
"""The acts of all loaded modules, with the roles that may do each; see `sesame.operations.load_all`."""


def may(actor: Actor, act: str | Callable[..., object], *, of: str | None = None) -> bool:
    """Whether an actor may do this act.

    Args:
        act: the act itself, or the name of one whose module is loaded.
        of: to what, of an act with a scope for each (`events.poll:idp`); None: to anything at all.
    """
    name = act if isinstance(act, str) else str(vars(act)["act"])
    if actor.roles & RIGHTS[name] or name in actor.acts:
        return True
    if of is None:
        return any(each.startswith(f"{name}:") for each in actor.acts)
    return f"{name}:{of}" in actor.acts


def check(actor: Actor, name: str, *, of: str | None = None) -> None:
    """Check that an actor may do the act of this name; see `may`.

    Raises:
        ActRefused: they may not.
    """
    if not may(actor, name, of=of):
        roles = ", ".join(sorted(RIGHTS[name]))
        raise ActRefused(
            gettext("{actor} may not do {act}", actor=actor.name, act=name),
            remedy=gettext("It takes one of: {roles}.", roles=roles),
        )


_Site = TypeVar("_Site")
_More = ParamSpec("_More")
_Report = TypeVar("_Report")
_Act = Callable[Concatenate[_Site, Actor, _More], _Report]


class ActPath(NamedTuple):
    """Where programs call an act.

    Attributes:
        operation: its name in OpenAPI.
        method: `GET` looks, `POST` acts.
        path: below `/v1`; a name in braces is the act's next argument.
        status: of a success (RFC 9110).
    """

    operation: str
    method: str
    path: str
    status: int = 200


def act(
    name: str,
    roles: frozenset[Role],
    *,
    path: ActPath | None = None,
    shows: Callable[..., Mapping[str, object] | None] | None = None,
) -> Callable[[_Act[_Site, _More, _Report]], _Act[_Site, _More, _Report]]:
    """Make a function the act of this name; refuse unauthorised actors before it runs.

    Args:
        name: by which the audit and tokens know it.
        roles: that may do it.
        path: where programs call it; None: nowhere, or a hand-written route renders it.
        shows: of an act that shows persons, what the audit keeps of the look, by the report and what the act
            was called with after the actor: see `shown`; None: no person. It is recorded before the
            report is returned.
    """
    RIGHTS[name] = roles

    def decorate(function: _Act[_Site, _More, _Report]) -> _Act[_Site, _More, _Report]:
        @wraps(function)
        def checked(site: _Site, actor: Actor, /, *args: _More.args, **kwargs: _More.kwargs) -> _Report:
            check(actor, name)
            report = function(site, actor, *args, **kwargs)
            seen = shows(report, *args) if shows is not None else None
            if seen is not None:
                stored: Any = site
                note_look(stored.database, actor, name, **seen)
            return report

        checked.__dict__.update(act=name, path=path, shows=shows)
        return checked

    return decorate
