"""Unlock an account that wrong passwords have locked, without a new password."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from consumers.kit.connector import LOCK_IS_ANOTHER, Connector, Held, Lockout, Refused, TargetObject, find_own
from consumers.kit.deadline import Deadline
from pipeline.audit import operator_notes
from pipeline.errors import SesameError
from schemas.account import Account
from schemas.language import gettext, local_time
from schemas.scalars import Text
from sesame.acts.acts import DESK, Actor, ActRequest, Report, act, utc
from sesame.acts.admission import admit
from sesame.acts.ports import Unlocking
from sesame.operations.access.holds import account_of_desk
from sesame.operations.people.target_look import LOOK_S_MAX


class UnlockRequest(ActRequest):
    """A student, and why the desk believes who asks."""

    student_number: str
    reason: Text


class UnlockedAt(Report):
    """A target where the account was locked: since when, as it was read."""

    target: str
    locked_at: datetime


class UnlockReport(Report):
    """What was unlocked; `left`: targets that may still be locked, with the reason."""

    student_number: str
    unlocked: tuple[UnlockedAt, ...]
    left: Mapping[str, str]


@act("unlock", DESK)
def unlock(site: Unlocking, actor: Actor, request: UnlockRequest) -> UnlockReport:
    """Unlock a student wherever wrong passwords have locked the account; the password stays.

    Only the lock that was read is removed, by its value: the target refuses if it has another one by then,
    such as a hold's.

    Raises:
        NoSuchStudent, AccountHeld, AccountShut: nothing was done.
        StoreRestored: likewise, until an operator has checked.
        StoreUnavailable: the act could not be recorded, so nothing was unlocked.
    """
    admit(site, works=False)
    number = request.student_number
    account = _open_account(site, number)
    locked, left = _locked(site, account)
    if locked:
        detail = {"student_number": number, "targets": list(locked)}
        with site.database.write() as connection:
            operator_notes.keep_and_audit(
                connection,
                site.database,
                action="unlock",
                about="",
                student_number=number,
                actor=actor.name,
                words=request.reason,
                detail=detail,
            )
    for target, (found, _) in locked.items():
        if why := _unlock(site, target, found):
            left[target] = why
    done = [
        UnlockedAt(target=target, locked_at=utc(lockout.since))
        for target, (_, lockout) in locked.items()
        if target not in left
    ]
    return UnlockReport(student_number=number, unlocked=tuple(done), left=left)


def lines(done: UnlockReport) -> list[str]:
    """The result in sentences, one for each target."""
    found = [
        gettext(
            "{target}: unlocked; it was locked since {time}",
            target=each.target,
            time=local_time(each.locked_at),
        )
        for each in done.unlocked
    ]
    found += [gettext("{name}: {value}", name=target, value=why) for target, why in done.left.items()]
    return found or [gettext("{number}: no target has locked this account", number=done.student_number)]


def _open_account(site: Unlocking, number: str) -> Account:
    with site.database.read() as connection:
        return account_of_desk(connection, site.database, number, shut=lambda each: not each.access_open)


def _locked(
    site: Unlocking, account: Account
) -> tuple[dict[str, tuple[TargetObject, Lockout]], dict[str, str]]:
    """The student's locked objects by target; and the targets that could not be read, with the reason."""
    locked: dict[str, tuple[TargetObject, Lockout]] = {}
    left: dict[str, str] = {}
    number, settings = account.student_number, site.settings
    for target in settings.targets:
        made = settings.connector_of(target).connector
        if made is None or made.unlock is Connector.unlock or target in settings.observed:
            continue
        try:
            with site.connector(target) as connector:
                seen = connector.read([account.at(target)], Deadline.after(LOOK_S_MAX))[number]
                adopted = connector.adopted_refs([number]).get(number)
        except SesameError as error:
            left[target] = str(error)
            continue
        own = () if isinstance(seen, Held | Refused) else find_own(account, seen, adopted)
        for each in own:
            if each.lockout is not None:
                locked[target] = each, each.lockout
    return locked, left


def _unlock(site: Unlocking, target: str, found: TargetObject) -> str:
    """Why the target is still locked; empty: it is not."""
    try:
        with site.connector(target, writes=True) as connector:
            refused = connector.unlock(found, Deadline.after(LOOK_S_MAX))
    except SesameError as error:
        return str(error)
    if refused == LOCK_IS_ANOTHER:
        return gettext("another lock has come meanwhile, or this one is gone: look again")
    return "" if refused is None else refused.message
