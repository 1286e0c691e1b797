"""Settle doubts in bulk by a rule: preview both sides, then decide one by one.

A rule settles the plain cases. What it does not fit, or could harm, is left to be decided singly: a number
in several doubts, a shut access, two accounts in use. Only previewed doubts are decided; one that has
changed since the preview is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy import Connection

from consumers.registry import identity_doubts as store
from consumers.registry.doubt_rules import RULES, DoubtRule
from consumers.registry.identity_doubts import Doubt, Verdict
from consumers.registry.people import KnownPerson, People
from pipeline import audit
from pipeline.db.database import Database
from pipeline.errors import SesameError
from producers.identities import DecisionRequest, decide
from schemas.account import Hold
from schemas.events import IdentityDecision
from schemas.language import gettext
from schemas.scalars import INTEGER_MAX
from sesame.acts.acts import OFFICE, Actor, ActPath, ActRequest, Report, act, utc
from sesame.acts.ports import Publishing, Stored
from sesame.operations.people.known_persons import Side, side


class NoSuchRule(SesameError):
    """This is no rule by which doubts are settled. `sesame identities settle --help` names them all."""

    exit_code = 2


class Kept(StrEnum):
    """Which of two accounts in use remains."""

    EARLIER = "earlier"  # the one that was activated first
    LATER = "later"


class LeftCause(StrEnum):
    """Why a doubt that a rule fits is left to one by one."""

    SEVERAL = "several_doubts"
    MERGED = "merged_already"
    HELD = "access_shut"
    TWO_ACCOUNTS = "two_accounts"
    NO_ACCOUNT = "no_account"
    CHANGED = "changed"  # since it was shown


class SettledDoubt(Report):
    """One doubt that a rule settles: the decision, and who they are.

    Attributes:
        student_number, mine: merged, the number that ends.
        other, theirs: merged, the number that remains.
    """

    student_number: str
    other: str
    decision: IdentityDecision
    raised_at: datetime
    mine: Side
    theirs: Side


class LeftDoubt(Report):
    """One doubt that a rule fits, and that is left to one by one."""

    student_number: str
    other: str
    cause: LeftCause


class SettleRequest(ActRequest):
    """Which doubts are to be settled.

    Attributes:
        rule: the name of one of `RULES`.
        keep: of two accounts in use, which remains; None: such doubts are left to one by one.
        limit: at most so many, the oldest first; None: all.
    """

    rule: str
    keep: Kept | None = None
    limit: Annotated[int, Field(ge=1, le=INTEGER_MAX)] | None = None


class SettlementPreview(Report):
    """What a rule would say of the open doubts.

    Attributes:
        settled: those that it settles.
        left: those that it fits, and that are left to one by one.
        beyond: how many more it would settle without the limit.
        others: how many doubts it does not fit.
    """

    rule: str
    decision: IdentityDecision
    settled: tuple[SettledDoubt, ...]
    left: tuple[LeftDoubt, ...]
    beyond: int
    others: int


class SettleAgreedRequest(ActRequest):
    """Doubts to be settled: what was asked of the preview, and what it answered. What is not as it was shown
    is left."""

    settlement: SettleRequest
    shown: SettlementPreview


class SettleReport(Report):
    """The decisions, and what had changed since it was shown."""

    rule: str
    decision: IdentityDecision
    settled: tuple[SettledDoubt, ...]
    left: tuple[LeftDoubt, ...]


@act("identity.preview", OFFICE, path=ActPath("preview_settlement", "POST", "/identities/settle/preview"))
def preview(site: Stored, actor: Actor, request: SettleRequest) -> SettlementPreview:
    """Preview what this rule would decide, with personal data.

    The look at each of them is audited.

    Raises:
        NoSuchRule: there is no such rule.
    """
    rule = _rule(request.rule)
    settled, left, others = list[SettledDoubt](), list[LeftDoubt](), 0
    with site.database.read() as connection:
        for doubt in store.in_state(connection, [Verdict.OPEN]):
            found = _found(connection, site.database, doubt, rule, request.keep)
            if isinstance(found, SettledDoubt):
                settled.append(found)
            elif found is not None:
                left.append(found)
            else:
                others += 1
    shown = settled[: request.limit]
    with site.database.write() as connection:
        for each in shown:
            detail = {"student_number": each.student_number, "other": each.other, "rule": rule.name}
            audit.note(connection, site.database, actor=actor.name, action="identity.show", detail=detail)
    return SettlementPreview(
        rule=rule.name,
        decision=rule.decision,
        settled=tuple(shown),
        left=tuple(left),
        beyond=len(settled) - len(shown),
        others=others,
    )


@act("identity.settle", OFFICE, path=ActPath("settle_identities", "POST", "/identities/settle"))
def settle(
    site: Publishing,
    actor: Actor,
    request: SettleAgreedRequest,
    *,
    clock: Callable[[], datetime],
    progress: Callable[[SettledDoubt], None] = lambda _each: None,
    stopped: Callable[[], bool] = lambda: False,
) -> SettleReport:
    """Say what a rule says of the doubts that a preview showed.

    Each decision has its own audit entry.

    Args:
        site, actor, request: as for the preview.
        clock: the time now, with a zone.
        progress: called with each decision once it is published.
        stopped: whether to end before the next one; published decisions stay.

    Raises:
        NoSuchRule: there is no such rule.
        LogUnavailable: the decision after the last one reported to `progress` may have been published;
            repeating it is harmless.
    """
    rule = _rule(request.settlement.rule)
    settled, left = list[SettledDoubt](), list[LeftDoubt]()
    for each in request.shown.settled:
        if stopped():
            break
        if not _unchanged(site.database, each, rule, request.settlement.keep):
            left.append(_left(each.student_number, each.other, LeftCause.CHANGED))
            continue
        said = DecisionRequest(
            each.student_number,
            each.other,
            each.decision,
            reason=f"{rule.name}: {rule.meaning}",
            actor=actor.name,
            at=clock(),
            rule=rule.name,
        )
        decide(said, database=site.database, producer=site.producer)
        settled.append(each)
        progress(each)
    return SettleReport(rule=rule.name, decision=rule.decision, settled=tuple(settled), left=tuple(left))


def _rule(name: str) -> DoubtRule:
    rule = RULES.get(name)
    if rule is None:
        raise NoSuchRule(gettext("{name!r} is none of {names}", name=name, names=", ".join(RULES)))
    return rule


def _unchanged(database: Database, shown: SettledDoubt, rule: DoubtRule, keep: Kept | None) -> bool:
    """Whether the doubt, and all that was shown of both, is as it was."""
    with database.read() as connection:
        doubt = store.get(connection, store.pair_id(shown.student_number, shown.other))
        if doubt is None or doubt.state is not Verdict.OPEN:
            return False
        return _found(connection, database, doubt, rule, keep) == shown


def _found(
    connection: Connection, database: Database, doubt: Doubt, rule: DoubtRule, keep: Kept | None
) -> SettledDoubt | LeftDoubt | None:
    """The rule's decision of a doubt; None: the rule does not fit."""
    if doubt.other_number is None:  # doubt about a number's holder: needs identity papers
        return None
    people = People(database)
    mine = people.known(connection, doubt.student_number)
    theirs = people.known(connection, doubt.other_number)
    if mine is None or theirs is None or not rule.fits(mine, theirs):
        return None
    if (cause := _harm(connection, rule, mine, theirs)) is not None:
        return _left(mine.student_number, theirs.student_number, cause)
    sides = side(connection, database, mine), side(connection, database, theirs)
    if rule.decision is IdentityDecision.MERGE:
        ordered = _ordered(*sides, keep)
        if isinstance(ordered, LeftCause):
            return _left(mine.student_number, theirs.student_number, ordered)
        sides = ordered
    return SettledDoubt(
        student_number=sides[0].student_number,
        other=sides[1].student_number,
        decision=rule.decision,
        raised_at=utc(doubt.raised_at),
        mine=sides[0],
        theirs=sides[1],
    )


_SHUT: Final = frozenset({Hold.SUSPENDED, Hold.ADMINISTRATIVE, Hold.STOLEN_PASSWORDS})
"""Holds that a merge would put on both accounts; the technical one is the doubt's own."""


def _harm(
    connection: Connection, rule: DoubtRule, mine: KnownPerson, theirs: KnownPerson
) -> LeftCause | None:
    """Why an operator must look at these two although the rule fits them."""
    both = (mine, theirs)
    if any(each.merged_into is not None for each in both):
        return LeftCause.MERGED
    if rule.decision is not IdentityDecision.MERGE:
        return None
    if any(len(store.of(connection, each.student_number, [Verdict.OPEN])) > 1 for each in both):
        return LeftCause.SEVERAL
    return LeftCause.HELD if any(each.holds & _SHUT for each in both) else None


def _ordered(one: Side, other: Side, keep: Kept | None) -> tuple[Side, Side] | LeftCause:
    """Which side ends and which is kept: the only account, or the only activated one."""
    with_account = [each for each in (one, other) if each.login is not None]
    if not with_account:
        return LeftCause.NO_ACCOUNT
    in_use = [each for each in with_account if each.activated_at is not None]
    if len(with_account) == 1:
        [kept] = with_account
    elif len(in_use) == 1:
        [kept] = in_use
    elif len(in_use) == len(with_account) and keep is not None:
        by_time = sorted(in_use, key=lambda each: (each.activated_at, each.student_number))
        kept = by_time[0 if keep is Kept.EARLIER else -1]
    else:
        return LeftCause.TWO_ACCOUNTS
    return (other, one) if kept is one else (one, other)


def _left(student_number: str, other: str, cause: LeftCause) -> LeftDoubt:
    return LeftDoubt(student_number=student_number, other=other, cause=cause)
