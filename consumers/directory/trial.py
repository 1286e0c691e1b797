"""Trials on the live directory: the probe's mark, and a login attempt.

A probe writes an entry of the pipeline's own, and reads it back. A trial is a bind, and what the entry shows
when it is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from consumers.directory import difference
from consumers.directory.answers import Patience, expect_success
from consumers.directory.difference import texts
from consumers.directory.port import ObservedEntry, PasswordPolicy
from consumers.kit.ldap_answers import Code, LdapAnswer, Raw
from pipeline.errors import Misconfigured, TargetDown
from schemas.language import gettext

if TYPE_CHECKING:  # it loads an LDAP library
    from consumers.directory.client import DirectoryClient


_POLICY = ("pwdMaxAge", "pwdLockoutDuration")


class TrialVerdict(StrEnum):
    """How a trial ended."""

    LETS_IN = "lets_in"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 (a token)
    UNFIT_ENTRY = "unfit_entry"  # it is not there, or no password would be let in


@dataclass(frozen=True, slots=True)
class Trial:
    """How it ended, and for operators what was found."""

    verdict: TrialVerdict
    said: str = ""


def try_login(
    search: Callable[[], tuple[LdapAnswer, Sequence[tuple[str, Raw]]]],
    bind: Callable[[str, str], LdapAnswer],
    password: str,
    *,
    policy: Callable[[str | None], PasswordPolicy | None],
) -> Trial:
    """Find an entry, bind as it, and read it again.

    The bind may have changed the server's own state of it.

    Args:
        search: for the entry.
        bind: gives the server's answer to a name and a password.
        policy: the password policy that an entry names, or the usual one.
    """
    answer, rows = search()
    expect_success(answer)
    if len(rows) != 1:
        said = (
            gettext("the directory has {n} entries with this login", n=len(rows))
            if rows
            else gettext("the directory has no entries with this login")
        )
        return Trial(TrialVerdict.UNFIT_ENTRY, said)
    answer = bind(rows[0][0], password)
    _, rows = search()
    entry = difference.observed(*rows[0])
    return _judged(answer, entry, policy(entry.password.policy_dn))


def policy_of(client: DirectoryClient, patience: Patience, dn: str) -> PasswordPolicy | None:
    """The password policy of this name; None: there is none that we may see.

    Raises:
        TargetDown, Misconfigured: as `port.Directory`.
    """
    raw = patience.had(lambda: client.entry(dn, list(_POLICY)))
    if raw is None:
        return None
    return PasswordPolicy(*(int(next(iter(texts(raw, name)), "0")) for name in _POLICY))  # 0: none


def _judged(answer: LdapAnswer, entry: ObservedEntry, policy: PasswordPolicy | None) -> Trial:
    """What the answer to a bind means, given the entry and its password policy.

    The server answers `invalid credentials` for a locked entry and an expired password too.
    """
    state = entry.password
    if answer.code == Code.SUCCESS:
        if state.must_change:
            said = gettext("the directory wants another password of it (pwdReset)")
            return Trial(TrialVerdict.UNFIT_ENTRY, said)
        return Trial(TrialVerdict.LETS_IN)
    if entry.locked or state.locked_at is not None:
        said = gettext("its entry in the directory is locked (pwdAccountLockedTime)")
        return Trial(TrialVerdict.UNFIT_ENTRY, said)
    if policy is not None and policy.age_s_max and state.changed_at is not None:
        ended = state.changed_at + timedelta(seconds=policy.age_s_max)
        if ended <= datetime.now(UTC):
            said = gettext("its password in the directory has expired on {day}", day=f"{ended:%Y-%m-%d}")
            return Trial(TrialVerdict.UNFIT_ENTRY, said)
    return Trial(TrialVerdict.WRONG_PASSWORD, gettext("the directory refuses the password too"))


_READS_MAX = 3


def leave_mark(client: DirectoryClient, patience: Patience, dn: str, now_ns: int) -> None:
    """Write a mark on the entry for probes and see it there. Several processes may do so at once: a later
    mark will do too.

    Args:
        dn: the entry's name.
        now_ns: nanoseconds since the epoch: marks are compared by it.

    Raises:
        Misconfigured: there is no such entry, or no right to write it.
        TargetDown: it could not be written, or is not shown.
    """
    mark = f"probe {now_ns:020d} {secrets.token_hex(8)}"
    answer = patience.had(lambda: client.modify(dn, [("replace", "description", (mark,))], revision=None))
    if answer.code == Code.NO_SUCH_OBJECT:
        raise Misconfigured(
            "the directory has no entry for probes",
            remedy="add the last entry of ops/ldap/tree.ldif, or correct its DN in the settings",
        )
    expect_success(answer)
    for _ in range(_READS_MAX):
        raw = patience.had(lambda: client.entry(dn, ["description"])) or {}
        if any(value >= mark for value in texts(raw, "description")):
            return
    raise TargetDown("the directory accepted the probe's write and does not show it")
