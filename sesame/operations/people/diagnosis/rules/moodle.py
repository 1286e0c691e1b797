"""Rules about Moodle's user and cohorts, as the site shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from consumers.kit.connector import TargetObject
from consumers.moodle import NAME as MOODLE
from schemas.account import Enrolment, Pedagogical, Requirement
from sesame.operations.people.diagnosis.rules.base import Finding, rule
from sesame.operations.people.diagnosis.situation import Situation


@rule("courses_wait_for_enrolment")
def courses_wait_for_enrolment(s: Situation) -> Iterator[Finding]:
    """Some courses stay shut until the component validates the pedagogical enrolment."""
    validated = Pedagogical.VALIDATED
    found = (e.component for e in _enrolments(s) if e.in_force and e.pedagogical is not validated)
    waits = tuple(dict.fromkeys(found))
    evidence = {"components": ", ".join(waits)}
    words = {"component": ", ".join(map(s.component, waits))}
    yield from _courses_wait(
        s, Finding("courses_wait_for_enrolment", MOODLE, evidence, words), Requirement.PEDAGOGICAL
    )


@rule("courses_wait_for_other_enrolment")
def courses_wait_for_other_enrolment(s: Situation) -> Iterator[Finding]:
    """Some courses belong to an enrolment that is not in force, while another one is."""
    if any(e.in_force for e in _enrolments(s)):
        steps = ", ".join(dict.fromkeys(e.step_label for e in _enrolments(s) if not e.in_force))
        found = Finding("courses_wait_for_other_enrolment", MOODLE, {"enrolments": steps}, {"step": steps})
        yield from _courses_wait(s, found, Requirement.ADMINISTRATIVE)


def _courses_wait(s: Situation, found: Finding, requires: Requirement) -> Iterator[Finding]:
    """Yield it with the courses, if they wait for this."""
    account, target = s.open_at(MOODLE), s.target(MOODLE)
    awaited = account.awaited if account is not None else ()
    if target is not None and awaited and awaited[0].requires is requires:
        names = ", ".join(cohort.name for cohort in awaited)
        evidence, words = {"pending": names, **found.evidence}, {"courses": names, **found.words}
        yield replace(found, evidence=evidence, words=words, since=target.since)


def _enrolments(s: Situation) -> tuple[Enrolment, ...]:
    return s.account.enrolments if s.account is not None else ()


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
