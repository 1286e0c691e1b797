"""The yearly review of accounts: by component, each account is kept or is to end.

A review has no table: its opening and each decision are entries of the audit, under the real user, in the
chain of hashes; marks of the audit name the newest opening, and the decision that ended it. Concerned are the
accounts that were activated before it was opened and are still open. A decision alone shuts nothing: what is
to end is in the evidence until a hold or the account's stage has shut it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field
from sqlalchemy import Connection, select

from consumers.registry.people import people
from pipeline import accounts, audit
from pipeline.audit import operator_notes, trail
from pipeline.audit.trail import Entry
from pipeline.errors import DependencyDown, SesameError
from schemas.account import Account, Stage
from schemas.language import gettext
from schemas.scalars import Text
from sesame.acts.acts import OFFICE, OPERATORS, Actor, ActPath, ActRequest, Report, act, note, shown, utc
from sesame.acts.ports import Configured, Stored
from sesame.login.cas_sessions import cas_sessions
from sesame.operations.evidence.look import DAY_S, Look, ReadAccount

Decision = Literal["keep", "end"]

OPENED: Final = "review.open"
DECIDED: Final = "review.decide"
LISTED_MAX: Final = 200
"""Accounts of one component that are shown at a time."""
_NAMED_MAX: Final = 500
"""Persons whom one entry of the audit names."""
_ENTRIES: Final = 1_000_000
DONE: Final = "review.done"
"""The audit's mark of the decision that left no account without one."""
YEAR_DAYS: Final = 366
_REMIND_DAYS: Final = 30
"""From how many days before the end of the year on it is time to open the next review."""


class NoReview(SesameError):
    """No review of the accounts was opened yet. `sesame review open --days 30` opens one."""


class ReviewUnderWay(SesameError):
    """A review is under way: accounts of it are without a decision. `sesame review show` lists them."""


class NotUnderReview(SesameError):
    """The review concerns no such account of this component. `sesame review show` lists them."""

    exit_code = 2


class UnclearReview(SesameError):
    """Name the students, or keep all the rest of a component."""

    exit_code = 2


class ReviewOpening(ActRequest):
    """In how many days every account has to have its decision."""

    days: int = Field(30, ge=1, le=365)


class ReviewRequest(ActRequest):
    """The component to list; empty: only the figures of all."""

    component: str = ""


class ReviewDecision(ActRequest):
    """A decision on accounts of one component.

    Attributes:
        students: their numbers.
        rest: instead of naming them, all undecided ones without a note.
        reason: why; needed for `end`.
    """

    component: str
    students: tuple[str, ...] = Field((), max_length=_NAMED_MAX)
    rest: bool = False
    decision: Decision
    reason: Text | None = None


class ReviewedAccount(Report):
    """One account. `notes`: why it is worth a look: tokens of `review_notes`; `decision` None: none yet."""

    student_number: str
    name: str
    notes: tuple[str, ...]
    decision: Decision | None
    decided_by: str | None


class ReviewedComponent(Report):
    """A component's accounts: all, the undecided ones, and those that are to end."""

    component: str
    accounts: int
    undecided: int
    to_end: int


class ReviewReport(Report):
    """The newest review.

    Attributes:
        due_on: the day on which every account has to have its decision.
        accounts: of the component asked for: first the undecided ones with a note, at most `LISTED_MAX`.
        more: there are others.
    """

    opened_at: datetime
    opened_by: str
    due_on: date
    components: Sequence[ReviewedComponent]
    accounts: Sequence[ReviewedAccount] = ()
    more: bool = False


class ReviewVerdict(NamedTuple):
    """The newest decision on an account. `at`: seconds since the epoch."""

    decision: Decision
    actor: str
    at: float


class Review(NamedTuple):
    """The newest review: its opening, the accounts, and the decisions so far."""

    opened: Entry
    concerned: Mapping[str, ReadAccount]
    decided: Mapping[str, ReviewVerdict]

    @property
    def due_on(self) -> date:
        """The day on which every account has to have its decision."""
        return date.fromisoformat(self.opened.detail["due_on"])

    @property
    def undecided(self) -> list[ReadAccount]:
        """Accounts without a decision."""
        return [each for number, each in self.concerned.items() if number not in self.decided]


@act(OPENED, OPERATORS, path=ActPath("open_review", "POST", "/review/open"))
def open_review(site: Configured, actor: Actor, request: ReviewOpening) -> ReviewReport:
    """Open the review of all open accounts.

    Raises:
        ReviewUnderWay: the one before is not ended.
    """
    with site.database.write() as connection:
        site.database.alone(connection, "review")
        look = Look(site, connection)
        before = newest(look)
        if before is not None and before.undecided:
            raise ReviewUnderWay
        due_on = look.today + timedelta(days=request.days)
        note(site.database, actor, OPENED, connection, due_on=due_on.isoformat())
        _set_mark(site, connection, OPENED)
    return review(site, actor, ReviewRequest())


@act(
    "review.show",
    OFFICE,
    path=ActPath("show_review", "POST", "/review"),
    shows=lambda found, _request: shown(each.student_number for each in found.accounts),
)
def review(site: Configured, _actor: Actor, request: ReviewRequest) -> ReviewReport:
    """Show the newest review, and one component's accounts.

    Raises:
        NoReview: there is none.
        NotUnderReview: the component has no account of it.
    """
    with site.database.read() as connection:
        found = newest(Look(site, connection))
        if found is None:
            raise NoReview
        is_done = trail.mark(connection, DONE).entry_id >= found.opened.id
        if request.component and request.component not in {
            each.component for each in found.concerned.values()
        }:
            raise NotUnderReview(gettext("{name} has no account of this review", name=request.component))
        mine = (each for each in found.concerned.values() if each.component == request.component)
        wanted = list(mine) if request.component else []
        notes = _notes(connection, found) if wanted else {}
        wanted.sort(key=lambda one: (one.number in found.decided, one.number not in notes, one.number))
        shown_here = wanted[:LISTED_MAX]
        named = accounts.newest(connection, [one.number for one in shown_here])
    if is_done is bool(found.undecided):  # access was shut or opened since
        with suppress(DependencyDown), site.database.write() as connection:
            _end(site, connection, found)
    return ReviewReport(
        opened_at=utc(found.opened.at),
        opened_by=found.opened.actor,
        due_on=found.due_on,
        components=_components(found),
        accounts=[
            _reviewed(
                one.number, named.get(one.number), notes.get(one.number, ()), found.decided.get(one.number)
            )
            for one in shown_here
        ],
        more=len(wanted) > LISTED_MAX,
    )


@act(DECIDED, OFFICE, path=ActPath("decide_review", "POST", "/review/decide"))
def decide(site: Configured, actor: Actor, request: ReviewDecision) -> ReviewedComponent:
    """Decide on accounts of a component; a later decision replaces an earlier one.

    Raises:
        NoReview: there is none.
        UnclearReview: neither students nor the rest are named, or both, or an end has no reason.
        NotUnderReview: a named account is none of them; nothing was decided.
    """
    if request.rest == bool(request.students):
        raise UnclearReview
    if request.decision == "end" and (request.rest or not (request.reason or "").strip()):
        raise UnclearReview(gettext("an account that is to end is named, with the reason"))
    with site.database.read() as connection:
        found = newest(Look(site, connection))
        if found is None:
            raise NoReview
        mine = {number for number, each in found.concerned.items() if each.component == request.component}
        if not mine:
            raise NotUnderReview(gettext("{name} has no account of this review", name=request.component))
        if strange := sorted(set(request.students) - mine):
            raise NotUnderReview(gettext("{number} is no account of this review", number=strange[0]))
        numbers: Sequence[str] = request.students
        if request.rest:
            noted = _notes(connection, found)
            numbers = sorted(number for number in mine - found.decided.keys() if number not in noted)
    with site.database.write() as connection:  # all accounts are read before: others' writes do not wait
        site.database.alone(connection, "review")
        for begin in range(0, len(numbers), _NAMED_MAX):
            some = numbers[begin : begin + _NAMED_MAX]
            detail = {"student_numbers": list(some), "component": request.component}
            _record(site, connection, actor, request, detail)
        after = found._replace(decided=_verdicts(connection, found.opened))
        _end(site, connection, after)
    return next(each for each in _components(after) if each.component == request.component)


def newest(look: Look) -> Review | None:
    """The newest review; None: the audit has none."""
    look.read(f"audit: the newest {OPENED}, and each {DECIDED} since")
    begun = _opening(look.connection)
    if begun is None:
        return None
    concerned = {
        number: each
        for number, each in look.accounts.items()
        if each.is_open and each.activated_at is not None and each.activated_at < begun.at
    }
    return Review(begun, concerned, _verdicts(look.connection, begun))


def reminder(site: Stored) -> date | None:
    """The day on which the review is due, or the next one; None: none is."""
    with site.database.read() as connection:
        begun = _opening(connection)
        if begun is None:
            return None
        now, done = site.database.now(connection), trail.mark(connection, DONE)
    if done.entry_id < begun.id:
        return date.fromisoformat(begun.detail["due_on"])
    next_at = begun.at + YEAR_DAYS * DAY_S
    return utc(next_at).date() if now > next_at - _REMIND_DAYS * DAY_S else None


def ending(look: Look) -> Mapping[str, ReviewVerdict]:
    """Accounts that the newest decision on them, in whichever review, wants to end."""
    look.read(f"audit: each {DECIDED}")
    decided = _verdicts(look.connection, None)
    return {number: each for number, each in decided.items() if each.decision == "end"}


def _verdicts(connection: Connection, opened: Entry | None) -> Mapping[str, ReviewVerdict]:
    """The newest decision on each account since the opening; None: since ever."""
    decided: dict[str, ReviewVerdict] = {}
    since = audit.entries(
        connection, action=DECIDED, since=0.0 if opened is None else opened.at, limit=_ENTRIES
    )
    for entry in reversed(since):
        if opened is None or entry.id > opened.id:
            said = ReviewVerdict(entry.detail["decision"], entry.actor, entry.at)
            decided |= dict.fromkeys(entry.detail["student_numbers"], said)
    return decided


def _opening(connection: Connection) -> Entry | None:
    """The newest opening, while the audit has it."""
    mark = trail.mark(connection, OPENED)
    found = (
        audit.entries(connection, action=OPENED, before=mark.entry_id + 1, limit=1) if mark.entry_id else []
    )
    return next(iter(found), None)


def _end(site: Stored, connection: Connection, found: Review) -> None:
    """Note whether the review has ended: every account has its decision."""
    if found.undecided:
        trail.set_mark(connection, site.database, DONE, trail.Mark())
    else:
        _set_mark(site, connection, DONE)


def _set_mark(site: Stored, connection: Connection, name: str) -> None:
    """Let a mark name the newest entry, which this transaction made."""
    trail.set_mark(connection, site.database, name, trail.mark(connection, trail.HEAD))


def _record(
    site: Configured,
    connection: Connection,
    actor: Actor,
    request: ReviewDecision,
    detail: Mapping[str, Any],
) -> None:
    said = {**detail, "decision": request.decision}
    if request.reason is None:
        note(site.database, actor, DECIDED, connection, **said)
        return
    one = request.students[0] if len(request.students) == 1 else None
    operator_notes.keep_and_audit(
        connection,
        site.database,
        action=DECIDED,
        about=request.component,
        student_number=one,
        actor=actor.name,
        words=request.reason,
        detail=said,
    )


def _components(found: Review) -> list[ReviewedComponent]:
    of: dict[str, list[ReadAccount]] = {}
    for each in found.concerned.values():
        of.setdefault(each.component, []).append(each)
    ends = {number for number, each in found.decided.items() if each.decision == "end"}
    return [
        ReviewedComponent(
            component=component,
            accounts=len(those),
            undecided=sum(each.number not in found.decided for each in those),
            to_end=sum(each.number in ends for each in those),
        )
        for component, those in sorted(of.items())
    ]


def _notes(connection: Connection, review: Review) -> Mapping[str, Sequence[str]]:
    """Why accounts are worth a look, by student number."""
    found: dict[str, list[str]] = {}
    for number, each in review.concerned.items():
        if each.stage == Stage.GRACE.value:
            found[number] = ["grace"]
    roles = select(cas_sessions.c.student_number).where(
        cas_sessions.c.student_number.is_not(None), cas_sessions.c.roles.is_not(None)
    )
    prolonged = select(people.c.student_number).where(people.c.prolongations != "[]")
    for token, query in (("role", roles.distinct()), ("prolonged", prolonged)):
        for number in connection.execute(query).scalars():
            found.setdefault(number, []).append(token)
    return found


def _reviewed(
    number: str, account: Account | None, notes: Sequence[str], verdict: ReviewVerdict | None
) -> ReviewedAccount:
    return ReviewedAccount(
        student_number=number,
        name="" if account is None else account.person.display_name,
        notes=tuple(notes),
        decision=None if verdict is None else verdict.decision,
        decided_by=None if verdict is None else verdict.actor,
    )
