"""One story on services that each do something otherwise: the outcome is the same on all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumers.kit.deadline import Deadline
from consumers.scim import service
from pipeline.errors import Misconfigured, Throttled
from pipeline.target import Dead, Done
from sandbox.scim import QUIRKS, ScimServer
from schemas.account import Hold
from tests.integration.scim.scim_kit import Eyes, ScimHarness, account, memberships

LEA, ZOE, TOM, MIA, PAUL = ("22600001", "22600002", "22600003", "22600004", "22600005")

STUDENTS = (
    account(LEA, "lea.martin", "Martin", "L1", "TD-1"),
    account(ZOE, "zoe.müller".replace("ü", "u"), "Müller", "L1", "TD-2"),
    account(TOM, "tom.petit", "Petit", "L1"),
    account(MIA, "mia.roux", "Roux"),
    account(PAUL, "paul.noir", "Noir", "L1", "TD-1"),
)
TEACHER = "Prof@univ-exemple.fr"
PROF: dict[str, Any] = {"userName": TEACHER, "active": True, "emails": [{"value": "prof@univ-exemple.fr"}]}


@pytest.fixture
def eyes(scim: ScimServer) -> Eyes:
    scim.behave()
    eyes = Eyes(scim)
    eyes.empty()
    prof = eyes.make("/Users", **PROF)
    eyes.make("/Groups", displayName="Enseignants", members=[{"value": prof}])
    scim.forget()
    return eyes


def shown(number: str, login: str, family: str, *, active: bool = True, mail: str = "") -> dict[str, object]:
    """What a service shows of a student, written out."""
    return {
        "externalId": number,
        "userName": f"{login}@univ-exemple.fr",
        "name": {"givenName": "Léa", "familyName": family},
        "displayName": f"Léa {family}",
        "emails": [
            {"value": mail or f"{login}@etu.univ-exemple.fr", "type": "work", "primary": True},
        ],
        "preferredLanguage": "fr",
        "active": active,
    }


BEFORE = {
    each["userName"]: each
    for each in (
        shown(LEA, "lea.martin", "Martin"),
        shown(ZOE, "zoe.muller", "Müller"),
        shown(TOM, "tom.petit", "Petit"),
        shown(MIA, "mia.roux", "Roux"),
        shown(PAUL, "paul.noir", "Noir"),
    )
}
AFTER = {
    **BEFORE,
    "lea.martin@univ-exemple.fr": shown(LEA, "lea.martin", "Martin", active=False),
    "zoe.muller@univ-exemple.fr": shown(ZOE, "zoe.muller", "Durand", mail="zoe.durand@etu.univ-exemple.fr"),
}
TEACHERS = {"Enseignants": [TEACHER]}


def at(*logins: str) -> list[str]:
    return [f"{login}@univ-exemple.fr" for login in logins]


@pytest.mark.parametrize("quirk", ["", *QUIRKS])
def test_a_quirk_changes_nothing_of_the_outcome(scim: ScimServer, eyes: Eyes, quirk: str) -> None:
    scim.behave(*([quirk] if quirk else []))
    desk = ScimHarness(scim)

    first = desk.outcomes(*STUDENTS)
    assert all(isinstance(said, Done) for said in first.values()), first
    users = eyes.users()
    assert users.pop(TEACHER) == PROF
    assert users == BEFORE
    assert eyes.groups() == {
        **TEACHERS,
        "Groupe L1": at("lea.martin", "paul.noir", "tom.petit", "zoe.muller"),
        "Groupe TD-1": at("lea.martin", "paul.noir"),
        "Groupe TD-2": at("zoe.muller"),
    }

    scim.forget()
    second = desk.outcomes(*STUDENTS)
    assert all(isinstance(said, Done) and not said.changed for said in second.values()), second
    assert desk.writes() == [], "a second run writes nothing"
    assert {number: said.digest for number, said in first.items() if isinstance(said, Done)} == {
        number: said.digest for number, said in second.items() if isinstance(said, Done)
    }

    shut = STUDENTS[0].model_copy(update={"version": 2, "holds": frozenset({Hold.SUSPENDED})})
    married = STUDENTS[1].model_copy(
        update={
            "version": 2,
            "mail": "zoe.durand@etu.univ-exemple.fr",
            "person": STUDENTS[1].person.model_copy(update={"usage_name": "Durand"}),
            "groups": memberships("L1", "TD-1"),
        }
    )
    third = desk.outcomes(shut, married)
    assert all(isinstance(said, Done) for said in third.values()), third
    _shut_first(desk)
    users = eyes.users()
    assert users.pop(TEACHER) == PROF
    assert users == AFTER
    assert eyes.groups() == {
        **TEACHERS,
        "Groupe L1": at("lea.martin", "paul.noir", "tom.petit", "zoe.muller"),
        "Groupe TD-1": at("lea.martin", "paul.noir", "zoe.muller"),
        "Groupe TD-2": [],
    }

    taken = desk.outcome(account("22600009", "prof", "Autre"))
    assert isinstance(taken, Dead), taken
    assert taken.cause == "identity_collision"
    users = eyes.users()
    assert users.pop(TEACHER) == PROF
    assert users == AFTER

    if quirk == "repeated-pages":
        with pytest.raises(Misconfigured, match="cannot be read to its end"):
            list(desk.connector.objects())
    else:
        _everybody(desk)


def _shut_first(desk: ScimHarness) -> None:
    """The first write that was not refused is about access, and about nothing else."""
    first = next(each for each in desk.writes() if each["status"] < 400)
    body = json.loads(first["body"])
    if first["method"] == "PATCH":
        assert body["Operations"] == [{"op": "replace", "path": "active", "value": False}]
    else:
        assert first["method"] == "PUT"
        kept = {name: value for name, value in body.items() if name != "schemas"}
        assert kept == shown(LEA, "lea.martin", "Martin", active=False)


def _everybody(desk: ScimHarness) -> None:
    seen: list[tuple[str, str, bool | None]] = []
    for _ in range(50):
        try:
            seen = [
                (dict(each.names).get("principal", ""), each.student_number, each.open)
                for each in desk.connector.objects()
            ]
            break
        except Throttled:
            continue
    assert sorted(seen) == [
        (TEACHER, "", True),
        ("lea.martin@univ-exemple.fr", LEA, False),
        ("mia.roux@univ-exemple.fr", MIA, True),
        ("paul.noir@univ-exemple.fr", PAUL, True),
        ("tom.petit@univ-exemple.fr", TOM, True),
        ("zoe.muller@univ-exemple.fr", ZOE, True),
    ]


@pytest.mark.parametrize(
    "quirk", ["", "no-patch", "patch-denied", "no-bulk", "no-member-filter", "throttled"]
)
def test_who_is_erased_is_in_no_list_and_in_no_group(scim: ScimServer, eyes: Eyes, quirk: str) -> None:
    desk = ScimHarness(scim)
    desk.outcomes(*STUDENTS)
    found = [each for each in desk.connector.objects() if each.student_number == PAUL]
    scim.behave(*([quirk] if quirk else []))
    for _ in range(20):
        try:
            refused = desk.connector.erase(found, Deadline.after(60.0))
            break
        except Throttled:
            continue
    assert refused == {}
    assert "paul.noir@univ-exemple.fr" not in eyes.users()
    groups = eyes.groups()
    assert groups["Groupe TD-1"] == at("lea.martin")
    assert "nobody" not in groups["Groupe L1"]


@pytest.mark.parametrize("quirk", ["filter-ignored", "no-filter"])
def test_a_search_that_does_not_work_is_not_asked_again(
    scim: ScimServer, eyes: Eyes, quirk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE_SIZE", 100)
    scim.behave(quirk)
    desk = ScimHarness(scim)
    desk.outcomes(*STUDENTS)
    scim.forget()
    desk.outcomes(*STUDENTS)
    asked = [(each["path"], each.get("filter")) for each in scim.requests()]
    assert asked == [("/Users", None), ("/Groups", None)]


def test_who_has_neither_patch_nor_etags_is_refused_groups(scim: ScimServer, eyes: Eyes) -> None:
    scim.behave("no-patch", "no-etags")
    desk = ScimHarness(scim)
    with pytest.raises(Misconfigured, match="neither PATCH nor ETags"):
        desk.handler.probe()
    with pytest.raises(Misconfigured, match="neither PATCH nor ETags"):
        desk.outcomes(*STUDENTS)
    alone = ScimHarness(scim, groups=())
    alone.handler.probe()
    assert isinstance(alone.outcome(STUDENTS[3]), Done)


def test_who_has_neither_patch_nor_put_is_refused(scim: ScimServer, eyes: Eyes) -> None:
    scim.behave("no-patch", "no-put")
    desk = ScimHarness(scim, groups=())
    desk.outcomes(*STUDENTS)
    renamed = STUDENTS[0].model_copy(
        update={"person": STUDENTS[0].person.model_copy(update={"usage_name": "Autre"})}
    )
    with pytest.raises(Misconfigured, match="neither PATCH nor PUT"):
        desk.outcome(renamed)
