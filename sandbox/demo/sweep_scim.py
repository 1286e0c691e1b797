"""The SCIM service, as it shows itself over HTTPS."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.demo.finding import Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.scim import ScimServer

_TIMEOUT_S = 120.0
_MARK = "sesame:"
_SCOPE = "univ-exemple.fr"


@dataclass(frozen=True, slots=True)
class Held:
    """The service's users, and the keys of the groups of each, by its id."""

    users: list[Mapping[str, Any]]
    groups: Mapping[str, set[str]]

    @property
    def memberships(self) -> int:
        """The number of memberships."""
        return sum(map(len, self.groups.values()))


def dump(server: ScimServer) -> Held:
    """Read the whole service."""
    groups: dict[str, set[str]] = {}
    for group in _all(server, "/Groups"):
        for member in group.get("members", []):
            groups.setdefault(member["value"], set()).add(group.get("externalId", "").removeprefix(_MARK))
    return Held(_all(server, "/Users"), groups)


def compare(
    held: Held, students: Mapping[str, Student], announced: Mapping[str, Announced]
) -> Iterator[Disagreement]:
    """Users that are missing, too many or otherwise than announced."""
    by_number: dict[str, list[Mapping[str, Any]]] = {}
    for user in held.users:
        by_number.setdefault(user.get("externalId", ""), []).append(user)
    for number in sorted(by_number.keys() - students.keys()):
        yield Disagreement(number, "scim", "is a user and not in the registrar's file")
    for number, student in students.items():
        users, said = by_number.get(number, []), announced.get(number)
        if not student.opened and users:
            yield Disagreement(number, "scim", "is a user before any enrolment is in force")
        elif student.opened and said is not None and said.given("scim"):
            if len(users) == 1:
                yield from _differences(users[0], held.groups.get(users[0]["id"], set()), student, said)
            else:
                yield Disagreement(number, "scim", f"{len(users)} users, one is announced")


def _differences(
    user: Mapping[str, Any], groups: set[str], student: Student, said: Announced
) -> Iterator[Disagreement]:
    name = user.get("name", {})
    pairs = {
        "userName": (user["userName"], f"{said.login}@{_SCOPE}"),
        "emails": ([mail["value"] for mail in user.get("emails", [])], [said.mail]),
        "familyName": (name.get("familyName"), student.family_name),
        "givenName": (name.get("givenName"), student.given_name),
        "active": (user.get("active"), True),
        "groups": (groups, student.groups),
    }
    for what, (shown, due) in pairs.items():
        if shown != due:
            yield Disagreement(student.number, "scim", f"{what} is {shown}, {due} is due")


def _all(server: ScimServer, path: str) -> list[Mapping[str, Any]]:
    trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(server.ca_file)))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)
    request = urllib.request.Request(  # noqa: S310  (the address is ours)
        f"{server.url}{path}?startIndex=1&count=1000000", headers={"Authorization": f"Bearer {server.token}"}
    )
    with opener.open(request, timeout=_TIMEOUT_S) as answer:
        found: list[Mapping[str, Any]] = json.loads(answer.read()).get("Resources", [])
    return found
