"""The demo's sweep of Active Directory: what it says of a user as announced, and of one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ldap3 import MODIFY_ADD, MODIFY_REPLACE

from sandbox.demo import sweep_active_directory as ad
from sandbox.demo.finding import PROVISIONED, Announced, Disagreement
from sandbox.demo.roll import Student
from sandbox.samba import Samba

PASSWORD, GROUP = "Un-Mot-de-Passe-2026!", "etape-L1SWEEP-2026"
NUMBER, LOGIN = "22609301", "marie-antoinette.de-la-tour"

STUDENT = Student(
    NUMBER, "de la Tour", "Marie-Antoinette", steps={"L1SWEEP-261"}, groups={GROUP}, cohorts=set()
)
SAID = Announced(
    NUMBER, LOGIN, f"{LOGIN}@etu.univ-exemple.fr", "completed", {"active_directory": {"state": PROVISIONED}}
)


@pytest.fixture
def domain(samba: Samba) -> Iterator[tuple[Samba, Any]]:
    """A domain with this student as announced, and its administrator's connection."""
    with samba.connect(samba.administrator_dn, samba.administrator_password_file.read_text()) as connection:
        user, group = dn(samba), f"CN={GROUP},{samba.groups_dn}"
        values = {
            "sAMAccountName": LOGIN[:20],
            "userPrincipalName": f"{LOGIN}@univ-exemple.fr",
            "employeeID": NUMBER,
            "mail": SAID.mail,
            "displayName": "Marie-Antoinette de la Tour",
            "userAccountControl": "512",
            "unicodePwd": f'"{PASSWORD}"'.encode("utf-16-le"),
        }
        connection.add(user, "user", values)
        connection.add(group, "group", {"sAMAccountName": GROUP, "member": user})
        yield samba, connection
        connection.delete(group)
        connection.delete(user)


def dn(samba: Samba) -> str:
    return f"CN={LOGIN},{samba.users_dn}"


def found(samba: Samba, student: Student = STUDENT) -> list[str]:
    """What the sweep says of this student; the domain has other tests' users too."""
    said = ad.compare(samba, ad.dump(samba), {NUMBER: student}, {NUMBER: SAID})
    return [one.what for one in said if one.number == NUMBER]


def logged_in(samba: Samba, password: str, student: Student = STUDENT) -> tuple[int, list[Disagreement]]:
    return ad.log_in(samba, {NUMBER: student}, {NUMBER: SAID}, {NUMBER: password})


def test_a_user_as_announced_is_agreed_with_and_logs_in(domain: tuple[Samba, Any]) -> None:
    samba, _ = domain
    assert found(samba) == []
    assert logged_in(samba, PASSWORD) == (1, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("userPrincipalName", "somebody@univ-exemple.fr"),
        ("sAMAccountName", "marie-antoinette.x"),
        ("mail", "somebody@etu.univ-exemple.fr"),
        ("displayName", "Somebody"),
        ("userAccountControl", "514"),
    ],
)
def test_what_is_otherwise_than_announced_is_said(domain: tuple[Samba, Any], name: str, value: str) -> None:
    samba, connection = domain
    connection.modify(dn(samba), {name: [(MODIFY_REPLACE, [value])]})
    (what,) = found(samba)
    assert what.startswith(f"{name} is ")


def test_a_group_too_many_is_said_and_whichever_unit_it_is_in(domain: tuple[Samba, Any]) -> None:
    samba, connection = domain
    connection.modify(f"CN=Guests,CN=Builtin,{samba.base_dn}", {"member": [(MODIFY_ADD, [dn(samba)])]})
    (what,) = found(samba)
    assert what.startswith(f"groups are ['CN=Guests,CN=Builtin,{samba.base_dn}', '{GROUP}']")


def test_a_second_user_and_one_before_its_time_are_said(
    domain: tuple[Samba, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    samba, connection = domain
    monkeypatch.setattr(ad, "_PAGE", 1)
    early = Student(NUMBER, "", "")
    assert found(samba, early) == ["is a user before any enrolment is in force"]
    assert logged_in(samba, PASSWORD, early) == (0, [])  # nobody asks it to
    twin = f"CN=twin,{samba.users_dn}"
    connection.add(twin, "user", {"sAMAccountName": "twin", "employeeID": NUMBER})
    assert found(samba) == ["2 users, one is announced"]
    connection.delete(twin)


def test_a_user_whom_no_file_has_is_said(domain: tuple[Samba, Any]) -> None:
    samba, _ = domain
    said = {one.number: one.what for one in ad.compare(samba, ad.dump(samba), {}, {})}
    assert said[NUMBER] == "is a user and not in the registrar's file"


def test_another_password_is_said(domain: tuple[Samba, Any]) -> None:
    samba, _ = domain
    (opened, (refused,)) = logged_in(samba, "Un-Autre-2026!")
    assert (opened, refused.number) == (0, NUMBER)
    assert refused.what.startswith("cannot log in: ")
