"""Moodle, as its web service shows it."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.demo.finding import Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.moodle import MoodleStandIn
from sandbox.process import SandboxError

_TIMEOUT_S = 120.0
_COHORTS_PER_CALL = 200


@dataclass(frozen=True, slots=True)
class Site:
    """The site's users that log in by CAS, and its cohorts, both by Moodle's id.

    `cohorts`: the cohort's idnumber, and its members' ids.
    """

    users: Mapping[int, Mapping[str, Any]]
    cohorts: Mapping[int, tuple[str, frozenset[int]]]

    @property
    def memberships(self) -> int:
        """The number of memberships."""
        return sum(len(members) for _, members in self.cohorts.values())


def dump(moodle: MoodleStandIn) -> Site:
    """Read the whole site. Raises `SandboxError`: it refuses."""
    criteria = {"criteria[0][key]": "auth", "criteria[0][value]": "cas"}
    users = {int(user["id"]): user for user in call(moodle, "core_user_get_users", criteria)["users"]}
    idnumbers = {int(one["id"]): one["idnumber"] for one in call(moodle, "core_cohort_get_cohorts", {})}
    cohorts: dict[int, tuple[str, frozenset[int]]] = {}
    ids = sorted(idnumbers)
    for start in range(0, len(ids), _COHORTS_PER_CALL):
        some = ids[start : start + _COHORTS_PER_CALL]
        form = {f"cohortids[{index}]": str(one) for index, one in enumerate(some)}
        for answer in call(moodle, "core_cohort_get_cohort_members", form):
            cohort = int(answer["cohortid"])
            cohorts[cohort] = (idnumbers[cohort], frozenset(map(int, answer["userids"])))
    return Site(users, cohorts)


def call(moodle: MoodleStandIn, function: str, form: Mapping[str, str]) -> Any:
    """Call a web service function. Raises `SandboxError`: it answers with an exception."""
    pairs = {"wstoken": moodle.token, "wsfunction": function, "moodlewsrestformat": "json", **form}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(moodle.endpoint, urllib.parse.urlencode(pairs).encode(), timeout=_TIMEOUT_S) as reply:
        answer = json.loads(reply.read())
    if isinstance(answer, dict) and "exception" in answer:
        raise SandboxError(f"Moodle's {function} answers {answer.get('errorcode')}: {answer.get('message')}")
    return answer


def compare(
    site: Site, students: Mapping[str, Student], announced: Mapping[str, Announced]
) -> list[Disagreement]:
    """Users and memberships that are missing, too many or otherwise."""
    by_number: dict[str, list[int]] = {}
    for id_, user in site.users.items():
        by_number.setdefault(user.get("idnumber", ""), []).append(id_)
    inside: dict[int, set[str]] = {}
    for idnumber, members in site.cohorts.values():
        for member in members:
            inside.setdefault(member, set()).add(idnumber)
    found = [
        Disagreement(number, "moodle", "is a user and not in the registrar's file")
        for number in sorted(by_number.keys() - students.keys())
    ]
    found += _doubles(site)
    for number, student in students.items():
        held, said = by_number.get(number, []), announced.get(number)
        if not student.opened:
            if held:
                found.append(Disagreement(number, "moodle", "is a user before any enrolment is in force"))
        elif said is not None and said.given("moodle"):
            if len(held) != 1:
                found.append(Disagreement(number, "moodle", f"{len(held)} users, one is announced"))
            else:
                user = site.users[held[0]]
                differences = _differences(user, inside.get(held[0], set()), student, said)
                found += (Disagreement(number, "moodle", what) for what in differences)
    return found


def _doubles(site: Site) -> Iterator[Disagreement]:
    idnumbers = [idnumber for idnumber, _ in site.cohorts.values()]
    for idnumber in sorted({one for one in idnumbers if idnumbers.count(one) > 1}):
        yield Disagreement("", "moodle", f"{idnumbers.count(idnumber)} cohorts have the idnumber {idnumber}")


def _differences(
    user: Mapping[str, Any], cohorts: set[str], student: Student, said: Announced
) -> Iterator[str]:
    due = {
        "username": said.login,
        "email": said.mail,
        "firstname": student.given_name,
        "lastname": student.family_name,
        "auth": "cas",
        "suspended": False,
    }
    for name, value in due.items():
        if user.get(name) != value:
            yield f"{name} is {user.get(name)!r}, {value!r} is due"
    if cohorts != student.cohorts:
        yield f"member of {sorted(cohorts)}, {sorted(student.cohorts)} is due"
