"""The right outcome, written a second time: small, plain, for this world only.

Nothing of the shipped code that decides the same is used: accounts are read as data, and their consequences
are derived here. A directory entry's contents are in `oracle_entry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from schemas.account import Account

YEAR = 2026
YEAR_ENDS_ON = date(2027, 10, 31)
COMPONENTS = {"L1INFO": "SCI", "L2MATH": "SCI", "M1DROIT": "DRT"}
"""The steps of this world, by component."""

Steps = Mapping[str, tuple[str, str]]
"""By step: the administrative and the pedagogical state of the enrolment, without cancelled ones."""

Obstacle = tuple[str, tuple[str, ...]]
"""A reason to wait, and the sorted names of what is not given yet."""


def access(account: Account) -> bool:
    return account.stage in ("active", "grace") and len(account.holds) == 0


def steps_of(account: Account) -> Steps:
    return {each.step: (each.administrative, each.pedagogical) for each in account.enrolments}


def in_force(steps: Steps) -> list[str]:
    """The steps that open an account, the main one first. All are of one year, so by their names."""
    return sorted(step for step, (administrative, _) in steps.items() if administrative == "in_force")


def taught(steps: Steps) -> list[str]:
    return [step for step in in_force(steps) if steps[step][1] == "validated"]


def cohorts(steps: Steps) -> dict[str, bool]:
    """Moodle's cohorts by key, and whether the student belongs there yet."""
    return {f"{step}-{YEAR}": step in in_force(steps) for step in steps} | {
        f"td-{step}-{YEAR}": step in taught(steps) for step in steps
    }


def groups(steps: Steps) -> dict[str, bool]:
    """The directory's groups, likewise."""
    return {f"etu-{step}": step in taught(steps) for step in steps}


def obstacle(target: str, account: Account, *, calendar: bool = False) -> Obstacle | None:
    """The obstacle to this target's completion, if any. `calendar`: whether the timetable service had one."""
    if account.stage == "precreated":
        return "administrative_enrolment_pending", ()
    if not access(account):
        return None
    if target == "timetable":
        return None if calendar else ("timetable_not_scheduled", ())
    return _cohorts_to_come(account) if target == "moodle" else None


def _cohorts_to_come(account: Account) -> Obstacle | None:
    """What waits at a step in force comes first; then the steps that are not in force."""
    steps = steps_of(account)
    entered, admitted = in_force(steps), taught(steps)
    if courses := [f"TD {step}" for step in entered if step not in admitted]:
        return "pedagogical_enrolment_pending", tuple(sorted(courses))
    others = [step for step in steps if step not in entered]
    reason = "other_enrolment_pending" if entered else "administrative_enrolment_pending"
    to_come = [name for step in others for name in (f"{step} {YEAR}", f"TD {step}")]
    return (reason, tuple(sorted(to_come))) if to_come else None


def moodle_user(account: Account) -> dict[str, object]:
    return {
        "idnumber": account.student_number,
        "username": account.login,
        "auth": "cas",
        "firstname": account.person.given_name,
        "lastname": account.person.birth_name,
        "email": account.mail,
        "suspended": not access(account),
        "lang": "",
    }


def redirects(script: str | None, account: Account) -> bool:
    """Whether a mailbox's script sends copies to the student's address only."""
    lines = [line for line in (script or "").splitlines() if line and not line.startswith("#")]
    if account.mail_redirect is None:
        return not lines
    return lines == ['require ["copy"];', f'redirect :copy "{account.mail_redirect}";']
