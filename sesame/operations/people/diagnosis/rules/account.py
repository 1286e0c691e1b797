"""Rules about the account: its identity, whether it is open, and its enrolment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consumers.registry.esi import EsiState
from consumers.registry.lifecycle.stages import OPEN
from schemas.account import Account, Administrative, Enrolment, Hold, Stage, dated_step
from schemas.language import gettext
from sesame.acts.acts import utc
from sesame.operations.people.diagnosis.rules.base import Finding, rule, said_by
from sesame.operations.people.diagnosis.situation import Situation
from sesame.operations.people.diagnosis.words import word

ACCOUNT = "account"


@rule("unknown_number")
def unknown_number(s: Situation) -> Iterator[Finding]:
    """The number was never imported."""
    if s.person is None and s.account is None:
        yield Finding("unknown_number", ACCOUNT, {"number": s.number, "activation requested": s.requested_at})


@rule("number_merged")
def number_merged(s: Situation) -> Iterator[Finding]:
    """An operator merged this number into another one."""
    other = s.person.merged_into if s.person is not None else None
    if other is not None:
        yield Finding("number_merged", ACCOUNT, {"goes on as": other}, {"other": other})


@rule("identity_in_doubt")
def identity_in_doubt(s: Situation) -> Iterator[Finding]:
    """The registry holds the number until an operator has decided whose it is."""
    held = Hold.TECHNICAL in (s.person.holds if s.person is not None else ())
    if held and (s.person is None or s.person.merged_into is None):
        evidence = {"facts held back": s.held, "look": f"sesame identities show {s.number}"}
        yield Finding("identity_in_doubt", ACCOUNT, evidence)


@rule("access_suspended")
def access_suspended(s: Situation) -> Iterator[Finding]:
    """An operator shut access."""
    shut = sorted(set(s.account.holds) - _OTHERWISE) if s.account is not None else []
    if shut:
        notes = s.status.hold_notes if s.status is not None else ()
        since = max((note.since for note in notes), default=None)
        said = "; ".join(f"{note.actor}: {note.words}" for note in notes)
        evidence = {"holds": ", ".join(word("holds", hold) for hold in shut), "said": said}
        yield Finding("access_suspended", ACCOUNT, evidence, since=since)


_OTHERWISE = {Hold.TECHNICAL, Hold.STOLEN_PASSWORDS}
"""Holds that have their own rules."""


@rule("password_stolen")
def password_stolen(s: Situation) -> Iterator[Finding]:
    """An operator has shut access until the student chooses a new password."""
    if s.account is not None and Hold.STOLEN_PASSWORDS in s.account.holds:
        every = s.status.hold_notes if s.status is not None else ()
        notes = [note for note in every if note.hold == Hold.STOLEN_PASSWORDS]
        since = max((note.since for note in notes), default=None)
        said = "; ".join(f"{note.actor}: {note.words}" for note in notes)
        yield Finding("password_stolen", ACCOUNT, {"said": said}, since=since)


@rule("not_activated")
def not_activated(s: Situation) -> Iterator[Finding]:
    """The account could be activated, and no request was made."""
    account = _to_activate(s)
    if account is not None and _reachable(s):
        yield Finding(
            "not_activated", ACCOUNT, {"stage": word("stages", account.stage), **_enrolments(account)}
        )


@rule("no_personal_address")
def no_personal_address(s: Situation) -> Iterator[Finding]:
    """The account could be activated, and no address is known for the code."""
    account = _to_activate(s)
    if account is not None and not _reachable(s):
        yield Finding(
            "no_personal_address", ACCOUNT, {"personal address": gettext("none"), **_enrolments(account)}
        )


@rule("personal_address_refused")
def personal_address_refused(s: Situation) -> Iterator[Finding]:
    """The mail server refused the last message with a code for good."""
    if s.refused is not None:
        asked = utc(s.refused.created_at)
        yield Finding(
            "personal_address_refused", ACCOUNT, {"asked for": asked, "said": s.refused.refusal}, since=asked
        )


@rule("activation_on_its_way")
def activation_on_its_way(s: Situation) -> Iterator[Finding]:
    """The request is on the log, and the registry has not read it yet."""
    given_up = any(letter.consumer == "registry" for letter in s.letters)
    if s.requested_at is not None and s.account is not None and not given_up:
        registry = s.consumers.get("registry")
        state = said_by(registry) if registry is not None else word("states", "absent")
        evidence = {"requested": s.requested_at, "registry": state}
        yield Finding("activation_on_its_way", ACCOUNT, evidence, since=s.requested_at)


@rule("payment_awaited")
def payment_awaited(s: Situation) -> Iterator[Finding]:
    """The administrative enrolment is made, and not paid."""
    yield from _not_in_force(s, "payment_awaited", Administrative.AWAITING_PAYMENT)


@rule("enrolment_not_validated")
def enrolment_not_validated(s: Situation) -> Iterator[Finding]:
    """The administrative enrolment is being made, and none that the student could pay."""
    yield from _not_in_force(s, "enrolment_not_validated", Administrative.PENDING)


@rule("enrolment_cancelled")
def enrolment_cancelled(s: Situation) -> Iterator[Finding]:
    """No enrolment is left, and the account never opened."""
    account = s.account
    if account is None or account.stage is not Stage.PRECREATED:
        return
    if all(each.administrative is Administrative.CANCELLED for each in account.enrolments):
        yield Finding("enrolment_cancelled", ACCOUNT, _enrolments(account))


@rule("account_in_grace")
def account_in_grace(s: Situation) -> Iterator[Finding]:
    """No enrolment is in force any more; access stays for a while."""
    if s.account is not None and s.account.stage is Stage.GRACE:
        until = s.account.valid_until
        evidence: dict[str, object] = {
            "until": until,
            "warned": s.warned_at or gettext("no"),
            **_enrolments(s.account),
        }
        if s.person is not None and not s.person.personal_mail:
            evidence["personal address"] = gettext("none")
        times = len(s.person.prolongations) if s.person is not None else 0
        if times or s.prolongations_left:
            evidence |= {"prolonged": times, "may prolong": s.prolongations_left}
        yield Finding("account_in_grace", ACCOUNT, evidence, {"until": until or "–"})


@rule("service_ended")
def service_ended(s: Situation) -> Iterator[Finding]:
    """The account is in grace, and this service is shut in grace."""
    account = s.open
    if account is None or account.stage is not Stage.GRACE:
        return
    evidence = {"stage": word("stages", account.stage), **_enrolments(account)}
    for name in account.stages:
        if s.target(name) is not None:
            yield Finding("service_ended", name, evidence)


@rule("opens_later")
def opens_later(s: Situation) -> Iterator[Finding]:
    """The site's entitlements open this service later."""
    account = s.open
    if account is None:
        return
    for name, day in account.opens_on.items():
        if s.target(name) is not None and account.at(name).stage not in OPEN:  # or the guard holds it open
            yield Finding("opens_later", name, {"opens on": day, **_rows(s)}, {"day": day})


@rule("not_entitled")
def not_entitled(s: Situation) -> Iterator[Finding]:
    """The site's entitlements do not give this service."""
    account = s.open
    if account is None or account.stage is not Stage.ACTIVE:
        return
    for name in account.stages.keys() - account.opens_on.keys():
        if s.target(name) is not None:
            yield Finding("not_entitled", name, {**_enrolments(account), **_rows(s)})


def _rows(s: Situation) -> dict[str, str]:
    return {"look": f"sesame entitlements explain {s.number}"}


@rule("account_expired")
def account_expired(s: Situation) -> Iterator[Finding]:
    """The account's time is over."""
    if s.account is not None and s.account.stage in (Stage.EXPIRED, Stage.ERASED):
        evidence = {"stage": word("stages", s.account.stage), "until": s.account.valid_until}
        yield Finding("account_expired", ACCOUNT, evidence)


@rule("esi_kept")
def esi_kept(s: Situation) -> Iterator[Finding]:
    """The INE has changed since the European Student Identifier was minted."""
    if s.esi is EsiState.KEPT:
        yield Finding("esi_kept", ACCOUNT)


@rule("esi_taken")
def esi_taken(s: Situation) -> Iterator[Finding]:
    """A European Student Identifier of this INE was minted for another number."""
    if s.esi is EsiState.TAKEN:
        yield Finding("esi_taken", ACCOUNT)


def _to_activate(s: Situation) -> Account | None:
    """The account, if its student could activate it and has not done so."""
    account = s.account
    if account is None or account.activated_at is not None or s.requested_at is not None:
        return None
    return account if account.enrolled else None


def _reachable(s: Situation) -> bool:
    person = s.person
    return person is not None and bool(person.personal_mail or (s.uses_sms and person.mobile))


def _not_in_force(s: Situation, name: str, state: Administrative) -> Iterator[Finding]:
    account = s.account
    if account is None or account.stage is Stage.ERASED or account.enrolled:
        return
    found = {enrolment.administrative for enrolment in account.enrolments}
    if state is Administrative.PENDING and Administrative.AWAITING_PAYMENT in found:
        return
    if state in found:
        waiting = next((each for each in _targets(s) if each.state == "waiting"), None)
        since = waiting.since if waiting is not None else None
        yield Finding(name, ACCOUNT, _enrolments(account), since=since)


def _targets(s: Situation) -> tuple[Any, ...]:
    return s.status.targets if s.status is not None else ()


def _enrolments(account: Account) -> dict[str, str]:
    return {"enrolments": "; ".join(map(_enrolment, account.enrolments)) or gettext("none")}


def _enrolment(each: Enrolment) -> str:
    return gettext(
        "{step}: administrative {administrative}, pedagogical {pedagogical}",
        step=dated_step(each.year, each.step),
        administrative=word("administrative", each.administrative),
        pedagogical=word("pedagogical", each.pedagogical),
    )
