"""Whether the directory itself lets somebody in: a bind, and what the entry says when it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from consumers.directory import difference
from consumers.directory.answers import Code, LdapAnswer
from consumers.directory.difference import Raw
from consumers.directory.patience import expect_success
from consumers.directory.port import ObservedEntry, PasswordPolicy


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
    """Find an entry, bind as it, and look at it again: the bind may have changed what the server keeps of it.

    Args:
        search: for the entry.
        bind: what the server answers to a name and a password.
        policy: the password policy that an entry names, or the usual one.
    """
    answer, rows = search()
    expect_success(answer)
    if len(rows) != 1:
        return Trial(
            TrialVerdict.UNFIT_ENTRY, f"the directory has {len(rows) or 'no'} entries with this login"
        )
    answer = bind(rows[0][0], password)
    _, rows = search()
    entry = difference.observed(*rows[0])
    return _judged(answer, entry, policy(entry.password.policy_dn))


def _judged(answer: LdapAnswer, entry: ObservedEntry, policy: PasswordPolicy | None) -> Trial:
    """What the answer to an entry's bind means, given the entry and the policy that applies to it.

    The server says `invalid credentials` of a locked entry and of an expired password too.
    """
    state = entry.password
    if answer.code == Code.SUCCESS:
        if state.must_change:
            return Trial(TrialVerdict.UNFIT_ENTRY, "the directory wants another password of it (pwdReset)")
        return Trial(TrialVerdict.LETS_IN)
    if entry.locked or state.locked_at is not None:
        return Trial(TrialVerdict.UNFIT_ENTRY, "its entry in the directory is locked (pwdAccountLockedTime)")
    if policy is not None and policy.age_s_max and state.changed_at is not None:
        ended = state.changed_at + timedelta(seconds=policy.age_s_max)
        if ended <= datetime.now(UTC):
            return Trial(
                TrialVerdict.UNFIT_ENTRY, f"its password in the directory has expired on {ended:%Y-%m-%d}"
            )
    return Trial(TrialVerdict.WRONG_PASSWORD, "the directory refuses the password too")
