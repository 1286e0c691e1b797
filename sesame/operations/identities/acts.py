"""Identity doubts for an operator: both sides, with all that tells people apart."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from consumers.registry import identity_doubts as store
from consumers.registry.identity_doubts import Doubt, Verdict
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.errors import SesameError
from pipeline.eventlog.port import ERASED_KEY
from producers.identities import DecisionRequest, decide
from schemas.events import IdentityDecision
from schemas.language import gettext
from schemas.scalars import Text
from sesame.acts import acts
from sesame.acts.acts import OFFICE, STAFF, Actor, ActPath, ActRequest, Report, act, shown, utc, utc_or_none
from sesame.acts.ports import Publishing, Stored
from sesame.operations.people.known_persons import Side, claimed, known

_ANSWER_S_MAX: Final = 900.0
"""An answer that the registry has not applied by then left its doubt open: it is shown again."""


class NoSuchDoubt(SesameError):
    """No doubt has to do with this student number. `sesame identities list` shows the open ones."""


class WhichDoubt(SesameError):
    """Several doubts have to do with this student number: name the other number too, or `--holder` for the
    doubt about who holds it."""

    exit_code = 2


class WhichNumber(SesameError):
    """Nobody can tell which of the two numbers should go on: say it with `--keep`."""

    exit_code = 2


class DoubtSummary(Report):
    """One doubt, by its numbers only. `other`: None where it is about who holds the number."""

    student_number: str
    other: str | None
    evidence: tuple[str, ...]
    state: Verdict
    raised_at: datetime


class IdentityCase(DoubtSummary):
    """One doubt with both sides. `after` is the other number, or the number's new identity; None: who
    it was is not kept once it is decided."""

    decided_at: datetime | None
    before: Side
    after: Side | None


class DoubtsRequest(BaseModel):
    """Filter: the open doubts, or all."""

    everything: bool = Field(False, description="Decided ones, too.")


class DoubtDecisionRequest(ActRequest):
    """A decision about a doubt, and the reason.

    Attributes:
        other: the other number; None: of the one doubt about `student_number`.
        holder: the doubt is about who holds the number.
        dry_run: say what it would mean, and nothing else.
    """

    student_number: str
    other: str | None = None
    holder: bool = False
    reason: Text
    dry_run: bool = False


class Merge(DoubtDecisionRequest):
    """`keep`: the number whose account remains; None: the one that has an account."""

    keep: str | None = None


class Decided(Report):
    """What was decided, or would be. `other`: None where it is about the number alone."""

    student_number: str
    other: str | None
    decision: IdentityDecision
    text: str = Field(description="In words.")
    dry_run: bool


@act(
    "identity.list",
    STAFF,
    path=ActPath("list_identities", "GET", "/identities"),
    shows=lambda report, _request: shown(each.student_number for each in report),
)
def listed(site: Stored, _actor: Actor, request: DoubtsRequest) -> list[DoubtSummary]:
    """The doubts about identities that wait for a decision."""
    with site.database.read() as connection:
        found = store.in_state(connection, tuple(Verdict) if request.everything else [Verdict.OPEN])
    return [DoubtSummary(**_summary(doubt)) for doubt in found]


def unanswered(site: Stored, actor: Actor) -> list[DoubtSummary]:
    """The open doubts without an answer that the registry has yet to apply."""
    found = listed(site, actor, DoubtsRequest())
    with site.database.read() as connection:
        on_its_way = site.database.now(connection) - _ANSWER_S_MAX
        remarks = operator_notes.since(connection, ("identity.merge", "identity.separate"), on_its_way)
    answers: dict[frozenset[str], float] = {}
    for each in remarks:
        about = frozenset(filter(None, (each.student_number, each.about)))
        answers[about] = max(each.at, answers.get(about, 0.0))
    return [
        each
        for each in found
        if answers.get(frozenset(filter(None, (each.student_number, each.other))), -1.0)
        < each.raised_at.timestamp()
    ]


@act("identity.show", OFFICE, path=ActPath("show_identity", "GET", "/identities/{student_number}"))
def show(site: Stored, actor: Actor, student_number: str) -> list[IdentityCase]:
    """Every doubt about this number, open ones first, with personal data; audited.

    Raises:
        NoSuchDoubt: there is none.
    """
    with site.database.read() as connection:
        made = [_case(connection, site.database, doubt) for doubt in _doubts(connection, student_number)]
    found = [case for case in made if case is not None]
    if not found:
        raise NoSuchDoubt(gettext("nothing is in doubt about {number!r}", number=student_number))
    acts.note(site.database, actor, "identity.show", student_number=student_number)
    return found


@act("identity.separate", OFFICE, path=ActPath("separate_identities", "POST", "/identities/separate"))
def separate(site: Publishing, actor: Actor, request: DoubtDecisionRequest) -> Decided:
    """Decide that two numbers are two people, or a number stays with its first holder.

    Raises:
        NoSuchDoubt, WhichDoubt: nothing was decided.
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    number, second = _which(site.database, request)
    text = (
        separate_text(number, second)
        if second
        else gettext("{number} stays with its first holder", number=number)
    )
    return decided(site, actor, request, number, second, IdentityDecision.SEPARATE, text)


@act("identity.merge", OFFICE, path=ActPath("merge_identities", "POST", "/identities/merge"))
def merge(site: Publishing, actor: Actor, request: Merge) -> Decided:
    """Decide that two numbers are one person, or that one number kept its holder.

    The person continues as `other`.

    Raises:
        NoSuchDoubt, WhichDoubt, WhichNumber: nothing was decided.
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    number, second = _which(site.database, request)
    if second is None:
        text = gettext("{number} is still the same person, under other names", number=number)
    elif second.startswith(ERASED_KEY) and request.keep in (None, number):
        text = merged_text(second, number)
    else:
        kept = _kept(site.database, number, second, request.keep)
        number, second = (second, kept) if kept == number else (number, kept)
        text = merged_text(number, second)
    return decided(site, actor, request, number, second, IdentityDecision.MERGE, text)


def merged_text(number: str, kept: str) -> str:
    """A sentence: these are one person."""
    return gettext("{number} and {kept} are one person, who goes on as {kept}", number=number, kept=kept)


def separate_text(number: str, other: str) -> str:
    """A sentence: these are two people."""
    return gettext("{number} and {other} are two people", number=number, other=other)


def _which(database: Database, request: DoubtDecisionRequest) -> tuple[str, str | None]:
    """The two numbers of the doubt; None for the second: the holder's."""
    student, other, holder = request.student_number, request.other, request.holder
    if other is not None and holder:
        raise WhichDoubt(gettext("a doubt about a holder has one number only"))
    if other is not None:
        with database.read() as connection:
            sides = {number: known(connection, database, number) for number in (student, other)}
            erased = other.startswith(ERASED_KEY) and store.get(connection, store.pair_id(student, other))
        for number, side in sides.items():
            if side is None and not (number == other and erased):
                raise NoSuchDoubt(gettext("the registry knows no student number {number!r}", number=number))
        return student, other
    with database.read() as connection:
        found = [doubt for doubt in _doubts(connection, student) if doubt.state is Verdict.OPEN]
    found = [doubt for doubt in found if not holder or doubt.other_number is None]
    seconds = {doubt.beside(student) if doubt.other_number else None for doubt in found}
    if not seconds:
        raise NoSuchDoubt(gettext("no doubt about {number!r} waits for anybody", number=student))
    if len(seconds) > 1:
        names = ", ".join(sorted(second or gettext("its holder") for second in seconds))
        raise WhichDoubt(gettext("{number!r} may be: {names}", number=student, names=names))
    return student, seconds.pop()


def _kept(database: Database, number: str, other: str, keep: str | None) -> str:
    """The number to keep: the requested one, or the only one with an account."""
    if keep is not None and keep not in (number, other):
        raise WhichNumber(gettext("{number!r} is neither of the two", number=keep))
    if keep is not None:
        return keep
    with database.read() as connection:
        sides = [known(connection, database, each) for each in (number, other)]
    with_account = [side.student_number for side in sides if side is not None and side.login is not None]
    if len(with_account) != 1:
        if with_account:
            raise WhichNumber(gettext("both numbers have an account"))
        raise WhichNumber(gettext("neither number has an account"))
    return with_account[0]


def decided(
    site: Publishing,
    actor: Actor,
    request: DoubtDecisionRequest,
    number: str,
    other: str | None,
    decision: IdentityDecision,
    text: str,
) -> Decided:
    """Publish a decision; with `dry_run` only return what it would mean.

    Raises:
        LogUnavailable: it may have been published already; repeating it is harmless.
    """
    if not request.dry_run:
        with site.database.read() as connection:
            at = utc(site.database.now(connection))
        said = DecisionRequest(number, other, decision, request.reason, actor.name, at)
        decide(said, database=site.database, producer=site.producer)
    return Decided(student_number=number, other=other, decision=decision, text=text, dry_run=request.dry_run)


def _doubts(connection: Connection, student_number: str) -> list[Doubt]:
    """The doubts about a number, open ones first."""
    return sorted(store.of(connection, student_number), key=lambda doubt: doubt.state is not Verdict.OPEN)


def _summary(doubt: Doubt) -> dict[str, Any]:
    return {
        "student_number": doubt.student_number,
        "other": doubt.other_number,
        "evidence": doubt.evidence,
        "state": doubt.state,
        "raised_at": utc(doubt.raised_at),
    }


def _case(connection: Connection, database: Database, doubt: Doubt) -> IdentityCase | None:
    """The case; for a pair, the number that was there first comes first."""
    mine = known(connection, database, doubt.student_number)
    if mine is None:
        return None
    before, after = mine, None
    if doubt.other_number is not None:
        theirs = known(connection, database, doubt.other_number)
        if theirs is not None:
            before, after = theirs, mine
        elif not doubt.other_number.startswith(ERASED_KEY):
            return None
    elif doubt.claimed is not None:
        after = claimed(connection, doubt.student_number, doubt.claimed)
    return IdentityCase(
        **_summary(doubt),
        decided_at=utc_or_none(doubt.decided_at),
        before=before,
        after=after,
    )
