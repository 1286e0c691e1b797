"""Rules about the password at each target, as far as the target shows it."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.directory import NAME as DIRECTORY
from consumers.kit.handler import OBJECT
from consumers.kit.passwords import LACKING, SEAL_BROKEN
from schemas.language import gettext
from sesame.acts.acts import utc
from sesame.operations.people.diagnosis.person import TargetStatus
from sesame.operations.people.diagnosis.rules.base import Finding, rule
from sesame.operations.people.diagnosis.situation import Situation


@rule("password_needed")
def password_needed(s: Situation) -> Iterator[Finding]:
    """A target lacks the password, and the vault no longer has it, or no fitting key."""
    for target in s.status.targets if s.status is not None else ():
        if target.state == "waiting" and target.reason in LACKING:
            yield Finding("password_needed", target.target, {"reason": target.reason}, since=target.since)
        for letter in s.letters:
            if target.state == "failed" and letter.consumer == target.target and letter.cause == SEAL_BROKEN:
                evidence = {"cause": letter.cause, "message": letter.message, "dead letter": letter.id}
                yield Finding("password_needed", target.target, evidence, since=utc(letter.recorded_at))
    for target in _with_another_password(s):
        if s.done(target.target) and target.reason not in LACKING:
            yield Finding("password_needed", target.target, {"shown": gettext("another password")})


@rule("password_on_its_way")
def password_on_its_way(s: Situation) -> Iterator[Finding]:
    """The target does not show the chosen password yet."""
    account, entry = s.open, s.live.entry
    for target in _with_another_password(s):
        if account is not None and target.state not in ("provisioned", "waiting", "failed"):
            shown = {"shown": gettext("another password")}
            yield Finding("password_on_its_way", target.target, shown, since=account.opened_at)
    if account is None or entry is None or account.credential_ref is None or s.done(DIRECTORY):
        return
    if entry.credential_ref != account.credential_ref:
        evidence = {"wanted": account.credential_ref, "shown": entry.credential_ref}
        yield Finding("password_on_its_way", DIRECTORY, evidence, since=account.opened_at)


def _with_another_password(s: Situation) -> Iterator[TargetStatus]:
    """Connector targets whose object shows another password than the account's.

    A look carries no password: the kit then reports that one is needed.
    """
    for name, seen in s.live.objects.items():
        target = s.target(name) if s.open is not None else None
        if target is not None and seen.obstacle in LACKING and OBJECT not in seen.differs:
            yield target
