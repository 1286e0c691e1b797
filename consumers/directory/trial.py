"""Trials on the live directory: the probe's mark, and a login attempt.

A probe writes an entry of the pipeline's own, and reads it back. A trial binds, and looks at the entry if
that is refused.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from consumers.directory.answers import reading_refused
from consumers.directory.objects import READ, EntryObject, shown, texts
from consumers.kit.ldap_answers import Code, LdapAnswer
from pipeline.errors import Misconfigured, TargetDown
from schemas.language import gettext

if TYPE_CHECKING:  # it loads an LDAP library
    from consumers.directory.settings import DirectorySettings
    from consumers.kit.ldap_patience import PatientLdapClient


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The age limit of passwords and the lock after wrong ones, in seconds. 0: no limit."""

    age_s_max: int
    lockout_s: int


_POLICY = ("pwdMaxAge", "pwdLockoutDuration")


class TrialVerdict(StrEnum):
    """Result of a trial."""

    LETS_IN = "lets_in"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 (a token)
    UNFIT_ENTRY = "unfit_entry"  # missing, or it lets no password in


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial's result, and findings for operators."""

    verdict: TrialVerdict
    said: str = ""


def try_login(client: PatientLdapClient, settings: DirectorySettings, login: str, password: str) -> Trial:
    """Find an entry, bind as it, and read its state, which may have changed.

    Raises TargetDown or Misconfigured: the directory does not answer us.
    """
    rows = client.find_any(settings.people_dn, "uid", [login], READ)
    if len(rows) != 1:
        none = gettext("the directory has no entries with this login")
        many = gettext("the directory has {n} entries with this login", n=len(rows))
        return Trial(TrialVerdict.UNFIT_ENTRY, many if rows else none)
    answer = client.bind(rows[0][0], password)
    entry = shown(*client.find_any(settings.people_dn, "uid", [login], READ)[0])
    return _judged(answer, entry, policy_of(client, entry.password.policy_dn or settings.policy_dn))


def policy_of(client: PatientLdapClient, dn: str | None) -> PasswordPolicy | None:
    """The password policy of this name; None: we see none. Raises TargetDown or Misconfigured."""
    raw = None if dn is None else client.had(partial(client.entry, dn, _POLICY))
    if raw is None:
        return None
    return PasswordPolicy(*(int(next(iter(texts(raw, name)), "0")) for name in _POLICY))  # 0: none


def _judged(answer: LdapAnswer, entry: EntryObject, policy: PasswordPolicy | None) -> Trial:
    """Interpret the answer to a bind. It is `invalid credentials` for locks and expiry too."""
    state, verdict, said = entry.password, TrialVerdict.UNFIT_ENTRY, ""
    max_age_s = 0 if policy is None else policy.age_s_max
    ended = state.changed_at and max_age_s and state.changed_at + timedelta(seconds=max_age_s)
    if answer.code == Code.SUCCESS and not state.must_change:
        verdict = TrialVerdict.LETS_IN
    elif answer.code == Code.SUCCESS:
        said = gettext("the directory wants another password of it (pwdReset)")
    elif entry.locked or state.locked_at is not None:
        said = gettext("its entry in the directory is locked (pwdAccountLockedTime)")
    elif ended and ended <= datetime.now(UTC):
        said = gettext("its password in the directory has expired on {day}", day=f"{ended:%Y-%m-%d}")
    else:
        verdict, said = TrialVerdict.WRONG_PASSWORD, gettext("the directory refuses the password too")
    return Trial(verdict, said)


_READS_MAX = 3


def leave_mark(client: PatientLdapClient, dn: str) -> None:
    """Write a mark on the entry for probes, and see it there.

    Marks begin with the time: a later one, of another process, will do too.

    Raises:
        Misconfigured: there is no such entry, or no right to write it.
        TargetDown: it could not be written, or is not shown.
    """
    mark = f"probe {time.time_ns():020d} {secrets.token_hex(8)}"

    def write() -> None:
        answer = client.modify(dn, [("replace", "description", (mark,))])
        if answer.code == Code.NO_SUCH_OBJECT:
            raise Misconfigured(
                "the directory has no entry for probes",
                remedy="add the last entry of ops/ldap/tree.ldif, below directory.people_dn",
            )
        if answer.code != Code.SUCCESS:
            raise reading_refused(answer)

    client.had(write)
    for _ in range(_READS_MAX):
        raw = client.had(partial(client.entry, dn, ["description"])) or {}
        if any(value >= mark for value in texts(raw, "description")):
            return
    raise TargetDown("the directory accepted the probe's write and does not show it")
