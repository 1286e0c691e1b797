"""Rules about the directory's entry and the server's password state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from consumers.directory import NAME as DIRECTORY
from schemas.language import gettext
from sesame.operations.people.diagnosis.rules.base import Finding, by_the_server, read_back, rule
from sesame.operations.people.diagnosis.situation import Situation


@rule("entry_missing")
def entry_missing(s: Situation) -> Iterator[Finding]:
    """The entry was read back once, and is gone."""
    if s.should_work(DIRECTORY) is not None and s.live.entries == ():
        yield Finding("entry_missing", DIRECTORY, read_back(s, DIRECTORY))


@rule("entry_ambiguous")
def entry_ambiguous(s: Situation) -> Iterator[Finding]:
    """Another entry has this student's number too."""
    entries = s.live.entries or ()
    if len(entries) > 1:
        yield Finding("entry_ambiguous", DIRECTORY, {"entries": "; ".join(entry.dn for entry in entries)})


@rule("entry_locked")
def entry_locked(s: Situation) -> Iterator[Finding]:
    """Locked for good, by hand: no hold of ours explains it."""
    entry = s.live.entry
    if s.should_work(DIRECTORY) is not None and entry is not None and entry.locked:
        yield Finding(
            "entry_locked", DIRECTORY, {"dn": entry.dn, "pwdAccountLockedTime": gettext("for good")}
        )


@rule("entry_changed")
def entry_changed(s: Situation) -> Iterator[Finding]:
    """The entry's mail address is not the account's: another writer changed it."""
    account, entry = s.should_work(DIRECTORY), s.live.entry
    if account is None or entry is None:
        return
    shown = entry.attributes.get("mail", ())
    if shown != (account.mail,):
        evidence = {"dn": entry.dn, "mail shown": ", ".join(shown), "mail wanted": account.mail}
        yield Finding("entry_changed", DIRECTORY, evidence)


@rule("too_many_wrong_passwords")
def too_many_wrong_passwords(s: Situation) -> Iterator[Finding]:
    """The server has shut the entry for some minutes."""
    entry, policy = s.live.entry, s.live.policy
    if entry is None or entry.password.locked_at is None or policy is None or policy.lockout_s == 0:
        return
    locked_at = entry.password.locked_at
    ends_at = locked_at + timedelta(seconds=policy.lockout_s)
    if s.now < ends_at:
        evidence = {
            "locked": locked_at,
            "by": by_the_server(),
            "until": ends_at,
            "wrong passwords": len(entry.password.failures),
        }
        words = {"minutes": str(-(-policy.lockout_s // 60))}
        yield Finding("too_many_wrong_passwords", DIRECTORY, evidence, words, locked_at)


@rule("locked_until_reset")
def locked_until_reset(s: Situation) -> Iterator[Finding]:
    """The server has shut the entry, and its policy names no end."""
    entry, policy = s.live.entry, s.live.policy
    if entry is None or entry.password.locked_at is None or (policy is not None and policy.lockout_s):
        return
    locked_at = entry.password.locked_at
    evidence = {
        "locked": locked_at,
        "by": by_the_server(),
        "until": gettext("an operator lifts it"),
        "wrong passwords": len(entry.password.failures),
    }
    yield Finding("locked_until_reset", DIRECTORY, evidence, since=locked_at)


@rule("password_expired")
def password_expired(s: Situation) -> Iterator[Finding]:
    """The password is older than the policy allows."""
    entry, policy = s.live.entry, s.live.policy
    if entry is None or policy is None or policy.age_s_max == 0 or entry.password.changed_at is None:
        return
    ended_at = entry.password.changed_at + timedelta(seconds=policy.age_s_max)
    if ended_at <= s.now:
        evidence = {"changed": entry.password.changed_at, "lasts (s)": policy.age_s_max, "ended": ended_at}
        yield Finding("password_expired", DIRECTORY, evidence, since=ended_at)


@rule("password_must_change")
def password_must_change(s: Situation) -> Iterator[Finding]:
    """An administrator reset it: the server wants another one first."""
    entry = s.live.entry
    if entry is not None and entry.password.must_change:
        yield Finding("password_must_change", DIRECTORY, {"dn": entry.dn, "pwdReset": "TRUE"})


@rule("wrong_password_typed")
def wrong_password_typed(s: Situation) -> Iterator[Finding]:
    """Wrong passwords were tried since the last good one."""
    entry = s.live.entry
    failures = entry.password.failures if entry is not None else ()
    locked = entry is not None and entry.password.locked_at is not None
    if failures and not locked:
        evidence = {"wrong passwords": len(failures), "last": failures[-1]}
        yield Finding("wrong_password_typed", DIRECTORY, evidence, since=failures[-1])
