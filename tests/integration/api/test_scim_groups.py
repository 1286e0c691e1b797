"""Teaching groups by SCIM: members are rows, and each change is one student's fact."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from consumers.registry.people import Identity, KnownPerson, People
from pipeline.outbox import outbox
from producers.registrar import memberships
from producers.registrar.memberships import group_members, teaching_groups
from sesame.operations.programs.teaching_groups import FEW_MEMBERS_MAX
from tests.integration.api.api_kit import ApiWorld
from tests.integration.api.scim_in_kit import patch, scim

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
TEACHING = "urn:sesame:params:scim:schemas:1.0:TeachingGroup"
A, B, C = "22600001", "22600002", "22600003"
"""Students of the filled store."""


@pytest.fixture(scope="module")
def world(module_world: ApiWorld) -> ApiWorld:
    return module_world


def group(name: str, *members: str, **teaching: Any) -> dict[str, Any]:
    """A group as a client sends one."""
    sent = {"schemas": [GROUP], "displayName": name, "members": [{"value": each} for each in members]}
    return sent | ({TEACHING: {"teaching": teaching}} if teaching else {})


def put_in(*numbers: str) -> dict[str, Any]:
    return {"op": "add", "path": "members", "value": [{"value": each} for each in numbers]}


def members(world: ApiWorld, group_id: str) -> list[str]:
    return [each["value"] for each in scim(world, "GET", f"/Groups/{group_id}").get("members", [])]


def said(world: ApiWorld) -> list[tuple[str, int, list[tuple[str, str | None]]]]:
    """Whom the outbox has something of, by which sequence, and which units and groups; it is empty then."""
    with world.site.database.write() as connection:
        rows = connection.execute(select(outbox).order_by(outbox.c.id)).all()
        connection.execute(outbox.delete())
    facts = [json.loads(row.value) for row in rows if b"teachings" in row.value]
    assert {fact["source"] for fact in facts} <= {"api_groups"}
    return [
        (
            fact["student_number"],
            fact["source_sequence"],
            [(each["element"], each.get("group")) for each in fact["teachings"]],
        )
        for fact in facts
    ]


def test_a_group_of_a_name_alone_is_the_unit_of_that_code_in_the_present_year(world: ApiWorld) -> None:
    said(world)
    made = scim(world, "POST", "/Groups", status=201, json=group("INF101", A, B) | {"externalId": "g-1"})
    assert made[TEACHING]["teaching"] == {"year": 2026, "unit": "INF101"}
    assert [each["value"] for each in made["members"]] == [A, B]
    assert made["members"][0]["$ref"].endswith(f"/scim/v2/Users/{A}")
    assert [(number, listed) for number, _, listed in said(world)] == [
        (A, [("INF101", None)]),
        (B, [("INF101", None)]),
    ]
    assert scim(world, "GET", f"/Users/{A}")["groups"][0]["display"] == "INF101"
    taken = scim(world, "POST", "/Groups", status=409, json=group("other", unit="INF101", year=2026))
    assert taken["scimType"] == "uniqueness"
    scim(world, "POST", "/Groups", status=400, json=group("Licence « 1 »"))
    scim(world, "POST", "/Groups", status=400, json=group("INF109", "22699999"))


def test_who_joins_and_leaves_is_published_and_nobody_else(world: ApiWorld) -> None:
    made = scim(
        world, "POST", "/Groups", status=201, json=group("Math", A, unit="MAT1", group="TD2", year=2026)
    )
    where = f"/Groups/{made['id']}"
    said(world)
    shown = scim(world, "PATCH", where, status=200, json=patch(put_in(B, A)))
    assert [each["value"] for each in shown["members"]] == [A, B]
    [(number, first, listed)] = said(world)
    assert (number, ("MAT1", "TD2") in listed) == (B, True)
    for leaving in (
        {"op": "remove", "path": f'members[value eq "{B}"]'},
        {"op": "Remove", "path": "members", "value": [{"value": A}]},  # as Entra does
        {"op": "remove", "path": "members"},
    ):
        scim(world, "PATCH", where, status=200, json=patch(put_in(A, B)))
        said(world)
        scim(world, "PATCH", where, status=200, json=patch(leaving))
        gone = {B} if "[" in str(leaving["path"]) else {A} if "value" in leaving else {A, B}
        assert {number for number, _, _ in said(world)} == gone
        assert set(members(world, made["id"])) == {A, B} - gone
    scim(world, "PATCH", where, status=200, json=patch(put_in(A, B)))
    of_nobody = patch({"op": "Remove", "path": "members", "value": []})
    scim(world, "PATCH", where, status=204, json=of_nobody)  # it changes nothing
    assert members(world, made["id"]) == [A, B]
    scim(
        world, "PATCH", where, status=200, json=patch({"op": "replace", "value": {"members": [{"value": C}]}})
    )
    assert members(world, made["id"]) == [C]
    renamed = patch({"op": "replace", "path": "displayName", "value": "Maths"}, put_in(A))
    scim(world, "PATCH", where, status=200, json=renamed)
    shown = scim(world, "GET", where)
    assert (shown["displayName"], {each["value"] for each in shown["members"]}) == ("Maths", {A, C})
    put = group("Mathématiques", unit="MAT1", group="TD2", year=2026)
    del put["members"]
    scim(world, "PUT", where, status=200, json=put)
    assert set(members(world, made["id"])) == {A, C}
    scim(world, "PUT", where, status=200, json=put | {"members": [{"value": B}]})
    assert members(world, made["id"]) == [B]
    other = group("Maths", unit="MAT2", group="TD2", year=2026)
    assert scim(world, "PUT", where, status=400, json=other)["scimType"] == "mutability"
    for wrong in (
        {"op": "replace", "path": f'members[value eq "{B}"].value', "value": A},
        {"op": "add", "path": "members", "value": [{"display": "nobody"}]},
        put_in("22699999"),
    ):
        scim(world, "PATCH", where, status=400, json=patch(wrong))
    said(world)
    scim(world, "DELETE", where, status=204)
    [(number, last, listed)] = said(world)
    assert (number, last > first, ("MAT1", "TD2") in listed) == (B, True, False)
    scim(world, "GET", where, status=404)
    scim(world, "PATCH", where, status=404, json=patch(put_in(A)))


def test_a_version_that_is_not_the_one_that_was_read_is_not_changed(world: ApiWorld) -> None:
    made = scim(world, "POST", "/Groups", status=201, json=group("PHY1", A))
    where, tag = f"/Groups/{made['id']}", {"If-Match": made["meta"]["version"]}
    scim(world, "PATCH", where, status=200, json=patch(put_in(B)), headers=tag)
    scim(world, "PATCH", where, status=412, json=patch(put_in(C)), headers=tag)
    scim(world, "DELETE", where, status=412, headers=tag)
    assert set(members(world, made["id"])) == {A, B}
    now = scim(world, "GET", where)["meta"]["version"]
    scim(world, "GET", where, status=304, headers={"If-None-Match": now})


def test_groups_are_found_by_name_and_by_one_member(world: ApiWorld) -> None:
    made = scim(world, "POST", "/Groups", status=201, json=group("CHI1", C) | {"externalId": "chemistry"})

    def found(wanted: str, **more: Any) -> list[str]:
        answered = scim(world, "GET", "/Groups", status=200, params={"filter": wanted, **more})
        return [each["displayName"] for each in answered.get("Resources", [])]

    assert found('displayName eq "chi1"') == found('externalId eq "chemistry"') == ["CHI1"]
    assert "CHI1" in found(f'members.value eq "{C}"')
    assert found(f'members[value eq "{C}"] and displayName sw "CHI"') == ["CHI1"]
    assert found(f'members eq "{C}" and id eq "{made["id"]}"') == ["CHI1"]
    assert found(f'members.value eq "{A}" and displayName eq "CHI1"') == []
    assert found(f'{TEACHING}:teaching.unit eq "CHI1"') == ["CHI1"]
    for wanted in (
        f'members.value eq "{C}" or displayName pr',
        "members pr",
        f'not (members.value eq "{C}")',
    ):
        refused = scim(world, "GET", "/Groups", status=400, params={"filter": wanted})
        assert refused["scimType"] == "invalidFilter"
    everything = [each["displayName"] for each in scim(world, "GET", "/Groups")["Resources"]]
    paged, cursor = [], ""
    for _ in range(10):
        page = scim(world, "GET", "/Groups", params={"cursor": cursor, "count": 1})
        paged += [each["displayName"] for each in page["Resources"]]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    assert paged == everything
    assert scim(world, "GET", "/Groups", params={"startIndex": 2, "count": 1})["totalResults"] == len(paged)


def test_a_program_that_may_only_look_changes_no_group(world: ApiWorld) -> None:
    scim(world, "POST", "/Groups", "group.look", status=403, json=group("BIO1"))
    made = scim(world, "POST", "/Groups", "group.make", status=201, json=group("BIO1"))
    where = f"/Groups/{made['id']}"
    scim(world, "PATCH", where, "group.make", status=403, json=patch(put_in(A)))
    scim(world, "PATCH", where, "group.change", "group.look", status=200, json=patch(put_in(A)))
    scim(world, "GET", where, "viewer", status=403)
    noted = next(each for each in world.get("/audit").json() if each["action"] == "group.change")
    assert noted["detail"] == {"group": made["id"], "joined": [A], "left": []}


def crowd(world: ApiWorld, numbers: list[str], group_id: str) -> None:
    """Put these, whom the registry knows, into a group, behind the service's back."""
    day = {"birth_name": "Foule", "given_name": "Une", "birth_date": "2007-01-01"}
    people = People(world.site.database)
    with world.site.database.write() as connection:
        for number in numbers[:50]:
            people.add(connection, KnownPerson(number, Identity.model_validate(day), 1))
        rows = [{"group_id": group_id, "student_number": number} for number in numbers]
        connection.execute(insert(group_members), rows)


def test_of_a_large_group_one_member_s_row_is_touched_and_no_other_is_read(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scim(world, "POST", "/Groups", status=201, json=group("AMPHI"))
    where, numbers = f"/Groups/{made['id']}", [f"23{number:06}" for number in range(50_000)]
    crowd(world, numbers, made["id"])
    said(world)

    members_of = memberships.members

    def read(*args: Any, limit: int) -> Any:
        assert limit <= FEW_MEMBERS_MAX + 1, "all members were read"
        return members_of(*args, limit=limit)

    with monkeypatch.context() as patched:
        patched.setattr(memberships, "members", read)
        assert not world.ask("PATCH", f"/scim/v2{where}", json=patch(put_in(A))).content
        scim(
            world,
            "PATCH",
            where,
            status=204,
            json=patch({"op": "remove", "path": f'members[value eq "{numbers[7]}"]'}),
        )
        assert [number for number, _, _ in said(world)] == [A, numbers[7]]
        for asked in ("?excludedAttributes=members", "?attributes=displayName"):
            assert "members" not in scim(world, "GET", f"{where}{asked}", status=200)
        found = scim(
            world,
            "GET",
            "/Groups",
            params={"filter": 'displayName eq "amphi"', "excludedAttributes": "members"},
        )
        assert found["totalResults"] == 1
    with world.site.database.read() as connection:
        left = connection.execute(
            select(func.count()).select_from(group_members).where(group_members.c.group_id == made["id"])
        ).scalar_one()
    assert left == 50_000


def test_of_eight_writers_at_once_none_is_lost(world: ApiWorld) -> None:
    first, second = (
        scim(world, "POST", "/Groups", status=201, json=group(name))["id"] for name in ("EIGHT1", "EIGHT2")
    )
    numbers = [f"24{number:06}" for number in range(40)]
    crowd(world, numbers, "nowhere")
    said(world)

    def write(writer: int) -> None:
        for number in numbers[writer::8]:
            for each in (first, second):
                scim(world, "PATCH", f"/Groups/{each}", status=200, json=patch(put_in(number)))

    def same(writer: int) -> None:
        each = (first, second)[writer % 2]
        scim(world, "PATCH", f"/Groups/{each}", status=200, json=patch(put_in(*numbers, A)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert members(world, first) == members(world, second) == numbers
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(same, range(8)))
    assert set(members(world, first)) == {*numbers, A}
    newest: dict[str, tuple[int, list[Any]]] = {}
    for number, sequence, listed in said(world):
        assert sequence != newest.get(number, (0,))[0]
        newest[number] = max(newest.get(number, (0, [])), (sequence, listed))
    for number in (*numbers, A):
        assert {("EIGHT1", None), ("EIGHT2", None)} <= set(newest[number][1]), number
    with world.site.database.read() as connection:
        version = connection.execute(
            select(teaching_groups.c.version).where(teaching_groups.c.id == first)
        ).scalar_one()
    assert version == 1 + 40 + 4
