"""Rules about Moodle's user and cohorts, as the site shows them."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.kit.connector import TargetObject
from consumers.moodle import NAME as MOODLE
from schemas.account import Requirement
from sesame.operations.people.diagnosis.rules.base import Finding, rule
from sesame.operations.people.diagnosis.situation import Situation


@rule("courses_wait_for_enrolment")
def courses_wait_for_enrolment(s: Situation) -> Iterator[Finding]:
    """Some courses stay shut until the component validates the pedagogical enrolment."""
    account, target = s.open_at(MOODLE), s.target(MOODLE)
    if account is None or target is None:
        return
    pending = [c for c in account.cohorts if not c.met and c.requires is Requirement.PEDAGOGICAL]
    if pending:
        names = ", ".join(cohort.name for cohort in pending)
        components = ", ".join(dict.fromkeys(e.component for e in account.enrolments))
        evidence = {"pending": names, "components": components}
        words = {"courses": names, "component": components}
        yield Finding("courses_wait_for_enrolment", MOODLE, evidence, words, target.since)


@rule("moodle_user_missing")
def moodle_user_missing(s: Situation) -> Iterator[Finding]:
    """The user was read back once, and is gone."""
    if s.should_work(MOODLE) is not None and s.live.moodle == ():
        yield Finding("moodle_user_missing", MOODLE, {"users with this number": 0})


@rule("moodle_user_twice")
def moodle_user_twice(s: Situation) -> Iterator[Finding]:
    """Several users carry this student number."""
    users = s.live.moodle or ()
    if len(users) > 1:
        names = ", ".join(_shown(user, "username") for user in users)
        yield Finding("moodle_user_twice", MOODLE, {"users": names})


@rule("moodle_user_suspended")
def moodle_user_suspended(s: Situation) -> Iterator[Finding]:
    """Suspended by hand: no hold of ours explains it."""
    user = _user(s)
    if s.should_work(MOODLE) is not None and user is not None and not user.open:
        yield Finding("moodle_user_suspended", MOODLE, {"username": _shown(user, "username")})


@rule("moodle_other_login")
def moodle_other_login(s: Situation) -> Iterator[Finding]:
    """The user logs in by another method, or under another name, than CAS gives."""
    account, user = s.should_work(MOODLE), _user(s)
    if account is None or user is None:
        return
    auth, username = _shown(user, "auth"), _shown(user, "username")
    if auth != s.live.auth or username != account.login.lower():
        evidence = {"auth": auth, "username": username, "wanted": f"{s.live.auth} {account.login}"}
        yield Finding("moodle_other_login", MOODLE, evidence)


@rule("moodle_cohort_left")
def moodle_cohort_left(s: Situation) -> Iterator[Finding]:
    """A cohort that was given and read back has lost the student."""
    account, user = s.should_work(MOODLE), _user(s)
    if account is None or user is None:
        return
    inside = user.fields.get("cohorts", ())
    missing = [cohort for cohort in account.cohorts if cohort.met and cohort.key not in inside]
    if missing:
        evidence = {"missing": ", ".join(cohort.key for cohort in missing)}
        words = {"courses": ", ".join(cohort.name for cohort in missing)}
        yield Finding("moodle_cohort_left", MOODLE, evidence, words)


def _user(s: Situation) -> TargetObject | None:
    return s.live.moodle[0] if s.live.moodle is not None and len(s.live.moodle) == 1 else None


def _shown(user: TargetObject, field: str) -> str:
    return "".join(user.fields.get(field, ()))
