"""A program sends persons by SCIM: what the registry makes of it is what it is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from consumers.registry.people import People
from consumers.registry.teachings import held
from producers.registrar import external_ids
from sandbox.process import wait_until
from sesame.operations.identities import acts as identities
from sesame.operations.identities.acts import DoubtDecisionRequest
from sesame.operations.programs.registered_persons import find
from sesame.testing.servers import stores
from sesame.web.api import rates
from sesame.web.api.scim import scim_app
from sesame.web.api.scim.users import ScimUsers
from tests.integration.api.api_kit import CAMILLE, ApiWorld, api_world
from tests.integration.api.scim_in_kit import STUDENT, enrolment, patch, registry_running, scim, user

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
GUARD = "guard_share = 1.0\nguard_days_share = 1.0\n"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """A store, its API and its registry, for this file: each test has numbers of its own."""
    folder = tmp_path_factory.mktemp("scim")
    if request.param == "sqlite":
        with (
            api_world(folder, f"sqlite:///{folder / 'store.db'}", registrar=GUARD) as made,
            registry_running(made.site),
        ):
            yield made
        return
    postgres = request.getfixturevalue("postgres")
    with (
        stores.empty_database(postgres) as url,
        api_world(folder, url, registrar=GUARD) as made,
        registry_running(made.site),
    ):
        yield made


def test_a_person_who_is_sent_gets_the_login_that_the_ledger_mints(world: ApiWorld) -> None:
    asynchronous = {"Prefer": "respond-async"}  # nobody listens for the answer
    made = scim(world, "POST", "/Users", status=201, json=user("22900001"), headers=asynchronous)
    assert made["id"] == made[STUDENT]["studentNumber"] == "22900001"
    assert made["userName"] == "zoe.lefevre"
    assert made["externalId"] == "hr-22900001"
    assert made == scim(world, "GET", "/Users/22900001", status=200)
    assert "securityEvents" not in scim(world, "GET", "/ServiceProviderConfig")
    for wanted in ('externalId eq "hr-22900001"', 'userName eq "zoe.lefevre"'):
        found = scim(world, "GET", "/Users", params={"filter": wanted})["Resources"]
        assert [each["id"] for each in found] == ["22900001"]
    twice = scim(world, "POST", "/Users", status=409, json=user("22900001"))
    assert twice["scimType"] == "uniqueness"


def test_what_a_client_may_not_decide_is_answered_with_what_is_so(world: ApiWorld) -> None:
    made = scim(world, "POST", "/Users", status=201, json=user("22900002"))
    login = made["userName"]
    again = user("22900002", usageName="Petit") | {"userName": "another", "id": "1", "displayName": "X"}
    put = scim(world, "PUT", "/Users/22900002", status=200, json=again)
    assert (put["id"], put["userName"], put["displayName"]) == ("22900002", login, "Zoé Petit")
    refused = patch({"op": "replace", "path": "userName", "value": "another"})
    assert scim(world, "PATCH", "/Users/22900002", status=400, json=refused)["scimType"] == "mutability"
    other = user("22900002") | {STUDENT: {**user("22900002")[STUDENT], "studentNumber": "22900099"}}
    assert scim(world, "PUT", "/Users/22900002", status=400, json=other)["scimType"] == "mutability"


def test_enrolments_that_are_not_listed_any_more_end_and_the_last_one_by_delete(world: ApiWorld) -> None:
    more = enrolment(step="L1MATH", main=False, administrative="awaiting_payment")
    scim(world, "POST", "/Users", status=201, json=user("22900003", enrolment(), more))
    steps = scim(world, "GET", "/Users/22900003")[STUDENT]["enrolments"]
    assert steps == [enrolment(), more]
    login = scim(world, "GET", "/Users/22900003")["userName"]
    put = scim(world, "PUT", "/Users/22900003", status=200, json=user("22900003", more))
    assert put[STUDENT]["enrolments"] == [more]
    none = user("22900003") | {STUDENT: {**user("22900003")[STUDENT], "enrolments": []}}
    scim(world, "PUT", "/Users/22900003", status=400, json=none)
    scim(world, "DELETE", "/Users/22900003", status=204)
    scim(world, "GET", "/Users/22900003", status=404)
    scim(world, "PUT", "/Users/22900003", status=404, json=user("22900003"))
    scim(world, "DELETE", "/Users/22900003", status=404)
    back = scim(world, "POST", "/Users", status=201, json=user("22900003"))
    assert back["userName"] == login


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "Replace", "path": "active", "value": "False"}],  # Entra
        [{"op": "replace", "value": {"active": False}}],  # Okta
    ],
)
def test_active_is_the_administrative_hold_and_no_other(
    operations: list[dict[str, Any]], world: ApiWorld, request: pytest.FixtureRequest
) -> None:
    number = "22900004" if "path" in operations[0] else "22900005"
    scim(world, "POST", "/Users", status=201, json=user(number))
    other = {"student_number": number, "kind": "suspended", "reason": "an inquiry"}
    assert world.post("/holds/place", json=other).status_code == 200
    scim(world, "PATCH", f"/Users/{number}", status=200, json=patch(*operations))
    shut = scim(world, "GET", f"/Users/{number}")
    assert (shut["active"], shut[STUDENT]["holds"]) == (False, ["administrative", "suspended"])
    opened = user(number) | {"active": True}
    put = scim(world, "PUT", f"/Users/{number}", status=200, json=opened)
    assert (put["active"], put[STUDENT]["holds"]) == (True, ["suspended"])


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_who_may_not_place_a_hold_changes_nothing_by_active(world: ApiWorld) -> None:
    scopes = ("person.put", "person.look")
    scim(world, "POST", "/Users", *scopes, status=201, json=user("22900006"))
    shut = user("22900006", usageName="Autre") | {"active": False}
    scim(world, "PUT", "/Users/22900006", *scopes, status=403, json=shut)
    assert "usageName" not in scim(world, "GET", "/Users/22900006")[STUDENT]
    scim(world, "DELETE", "/Users/22900006", *scopes, status=403)
    scim(world, "PUT", "/Users/22900006", *scopes, "hold.place", status=200, json=shut)


def test_a_part_is_changed_by_its_path_and_the_rest_stays(world: ApiWorld) -> None:
    scim(world, "POST", "/Users", status=201, json=user("22900007", ine="0001234567A"))
    for operation in (
        {"op": "add", "path": f"{STUDENT}:personalMail", "value": "zoe@courriel.example"},
        {"op": "add", "path": f"{STUDENT}:mobile", "value": "06 12 34 56 78"},
        {"op": "replace", "path": "name.familyName", "value": "Lefebvre"},
        {"op": "add", "path": f"{STUDENT}:enrolments", "value": [enrolment(step="L1MATH", main=False)]},
        {
            "op": "replace",
            "path": f'{STUDENT}:enrolments[step eq "L1INFO"].pedagogical',
            "value": "validated",
        },
    ):
        scim(world, "PATCH", "/Users/22900007", status=200, json=patch(operation))
    gone = patch({"op": "remove", "path": f"{STUDENT}:ine"})
    scim(world, "PATCH", "/Users/22900007", status=200, json=gone)
    now = scim(world, "GET", "/Users/22900007")
    assert "ine" not in now[STUDENT]
    assert now["name"] == {"familyName": "Lefebvre", "givenName": "Zoé"}
    assert now[STUDENT]["personalMail"] == "zoe@courriel.example"
    assert now[STUDENT]["mobile"] == "+33612345678"
    assert [(each["step"], each["pedagogical"]) for each in now[STUDENT]["enrolments"]] == [
        ("L1INFO", "validated"),
        ("L1MATH", "pending"),
    ]


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "wrong",
    [
        {"birthDate": "the third of May"},
        {"birthDate": "2026-01-01"},
        {"ine": "too short"},
        {"personalMail": "nobody"},
        {"mobile": "nobody"},
        {"enrolments": [enrolment(), enrolment(step="L1MATH", year=1700)]},
        {"enrolments": [enrolment(administrative="perhaps")]},
        {"enrolments": [{"step": "L1INFO"}]},
        {"studentNumber": "with a blank"},
    ],
    ids=str,
)
def test_what_is_wrong_is_told_and_nothing_of_it_is_taken(wrong: dict[str, Any], world: ApiWorld) -> None:
    refused = scim(world, "POST", "/Users", status=400, json=user("22900008", **wrong))
    assert refused["scimType"] == "invalidValue"
    assert refused["detail"]
    scim(world, "GET", "/Users/22900008", status=404)


def test_a_version_that_is_not_the_one_that_was_read_is_not_written_over(world: ApiWorld) -> None:
    made = scim(world, "POST", "/Users", status=201, json=user("22900009"))
    tag = {"If-Match": made["meta"]["version"]}
    changed = user("22900009", personalMail="zoe@courriel.example")  # of which no target hears
    put = scim(world, "PUT", "/Users/22900009", status=200, json=changed, headers=tag)
    assert put["meta"]["version"] != made["meta"]["version"]
    scim(world, "PUT", "/Users/22900009", status=412, json=user("22900009"), headers=tag)
    scim(world, "DELETE", "/Users/22900009", status=412, headers=tag)
    again = scim(world, "PUT", "/Users/22900009", status=200, json=changed)
    assert again["meta"]["version"] == put["meta"]["version"]


def test_of_changes_at_once_of_one_person_none_is_lost(world: ApiWorld) -> None:
    scim(world, "POST", "/Users", status=201, json=user("22900016"))
    parts = {
        f"{STUDENT}:usageName": "Petit",
        f"{STUDENT}:personalMail": "zoe@courriel.example",
        f"{STUDENT}:preferredGivenName": "Zo",
        "externalId": "another",
    }

    def change(path: str) -> None:
        sent = patch({"op": "add", "path": path, "value": parts[path]})
        scim(world, "PATCH", "/Users/22900016", status=200, json=sent)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, parts))
    now = scim(world, "GET", "/Users/22900016")
    assert now["externalId"] == "another"
    assert {now[STUDENT].get(path.rpartition(":")[2]) for path in parts} - {None} == {
        "Petit",
        "zoe@courriel.example",
        "Zo",
    }


def test_who_may_be_somebody_else_is_told_so_and_gets_no_login_before_a_human_has_looked(
    world: ApiWorld,
) -> None:
    scim(world, "POST", "/Users", status=201, json=user("22900010"))
    twin = user("22900011", birthDate=user("22900010")[STUDENT]["birthDate"])
    told = scim(world, "POST", "/Users", status=409, json=twin)
    assert "sesame identities" in told["detail"]
    scim(world, "GET", "/Users/22900011", status=404)
    others = DoubtDecisionRequest(student_number="22900011", other="22900010", reason="twins")
    identities.separate(world.site, CAMILLE, others)
    wait_until(lambda: find(world.site.database, "22900011") is not None, "the registry")
    assert scim(world, "POST", "/Users", status=201, json=twin)["id"] == "22900011"
    scim(world, "POST", "/Users", status=409, json=twin)
    other = user("22900010", family="Durand") | {"name": {"familyName": "Durand", "givenName": "Paul"}}
    told = scim(world, "PUT", "/Users/22900010", status=409, json=other)
    assert "sesame identities" in told["detail"]
    assert scim(world, "GET", "/Users/22900010")["name"]["familyName"] == "Lefèvre"


def test_who_goes_on_under_another_number_is_shown_there_alone(world: ApiWorld) -> None:
    for number, day in (("22900017", "2006-01-07"), ("22900018", "2006-02-08")):
        scim(world, "POST", "/Users", status=201, json=user(number, birthDate=day))
    with world.site.database.write() as connection:
        People(world.site.database).change(connection, "22900018", merged_into="22900017")
    shown = scim(world, "GET", "/Users/22900017")[STUDENT]["enrolments"]
    assert [each["step"] for each in shown] == ["L1INFO", "L1INFO"]
    scim(world, "GET", "/Users/22900018", status=404)
    told = scim(world, "POST", "/Users", status=409, json=user("22900018"))
    assert told["detail"].startswith("22900017.")


def test_a_client_that_deletes_without_end_is_stopped_until_somebody_has_looked(tmp_path: Path) -> None:
    with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}") as world, registry_running(world.site):
        numbers = [f"2290002{each}" for each in range(5)]
        for number in numbers:
            scim(world, "POST", "/Users", status=201, json=user(number))
        answers = []
        for number in numbers:
            answered = world.ask("DELETE", f"/scim/v2/Users/{number}")
            answers.append((answered.status_code, answered.json()["detail"] if answered.content else ""))
        stopped = [place for place, (status, _) in enumerate(answers) if status == 409]
        assert answers[0][0] == 204
        assert stopped == list(range(stopped[0], 5))
        number, told = numbers[stopped[0]], answers[stopped[0]][1]
        scim(world, "GET", f"/Users/{number}", status=200)
        found = re.search(r"the id: ([0-9a-f]{20})", told)
        assert found is not None, told
        scim(world, "DELETE", f"/Users/{number}?approve={'0' * 20}", status=409)
        scim(world, "DELETE", f"/Users/{number}?approve={found[1]}", status=204)
        scim(world, "GET", f"/Users/{number}", status=404)


def test_what_the_guard_stops_goes_on_once_an_operator_has_approved_it(tmp_path: Path) -> None:
    more = enrolment(step="L1MATH", main=False)
    with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}") as world, registry_running(world.site):
        numbers = [f"2290003{each}" for each in range(5)]
        for number in numbers:
            scim(world, "POST", "/Users", status=201, json=user(number, enrolment(), more))
        ended = ("person.look", "person.end")

        def end(number: str) -> int:
            return world.ask("DELETE", f"/scim/v2/Users/{number}", *ended).status_code

        stopped = [number for number in numbers if end(number) == 409]
        assert len(stopped) > 1
        assert end(stopped[0]) == 409
        listed = world.get("/imports?persons=true&held=true").json()["imports"]
        assert len(listed) == len(stopped) + 1
        told = scim(world, "DELETE", f"/Users/{stopped[0]}", *ended, status=409)["detail"]
        newest = world.get("/imports?persons=true&held=true").json()["imports"][0]["id"]
        shown = world.get(f"/imports/{newest}").json()
        assert shown["approval"] in told
        about = world.get("/audit", params={"about": shown["approval"]}).json()
        assert {each["detail"].get("student_number") for each in about} == {stopped[0]}
        for role, status in (("registrar", 403), ("person.end", 403), ("operator", 204)):
            assert world.post(f"/imports/{newest}/approve", role).status_code == status, role
        assert world.post("/imports/4711/approve", "operator").status_code == 404
        assert world.get(f"/imports/{newest}").json()["approved_by"].startswith("token test (")
        assert end(stopped[0]) == 204
        done = world.get("/imports?persons=true").json()["imports"][0]["id"]
        assert world.post(f"/imports/{done}/approve", "operator").status_code == 409


def test_last_modified_moves_with_external_id(world: ApiWorld) -> None:
    one, other = user("22900040"), user("22900041")
    made = [scim(world, "POST", "/Users", status=201, json=each) for each in (one, other)]
    assert made[0]["meta"] == scim(world, "GET", "/Users/22900040")["meta"]
    changed = scim(world, "PUT", "/Users/22900040", status=200, json=one | {"externalId": "another"})
    assert changed["meta"]["lastModified"] > made[0]["meta"]["lastModified"]
    assert changed["meta"] == scim(world, "GET", "/Users/22900040")["meta"]
    same = scim(world, "PUT", "/Users/22900040", status=200, json=one | {"externalId": "another"})
    assert same["meta"] == changed["meta"]
    assert scim(world, "GET", "/Users/22900041")["meta"] == made[1]["meta"]


def test_412_is_answered_to_who_asked_for_it_alone(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else changes the person each time, between the look and the write."""
    made = scim(world, "POST", "/Users", status=201, json=user("22900042"))
    get = ScimUsers.get

    def overtaken(self: ScimUsers, resource_id: str, **how: Any) -> Any:
        found = get(self, resource_id, **how)
        with world.site.database.write() as connection:
            external_ids.keep(connection, world.site.database, resource_id, uuid4().hex)
        return found

    monkeypatch.setattr(ScimUsers, "get", overtaken)
    renamed = patch({"op": "add", "path": f"{STUDENT}:usageName", "value": "Petit"})
    answered = world.ask("PATCH", "/scim/v2/Users/22900042", json=renamed)
    assert (answered.status_code, answered.headers.get("retry-after")) == (503, "30")
    tag = {"If-Match": made["meta"]["version"]}
    scim(world, "PATCH", "/Users/22900042", status=412, json=renamed, headers=tag)


def test_who_is_enrolled_by_the_registrar_s_file_is_not_ended_by_a_program(world: ApiWorld) -> None:
    told = scim(world, "DELETE", "/Users/22600001", status=409)
    assert "only it can end them" in told["detail"]
    scim(world, "POST", "/Users", status=409, json=user("22600001"))
    scim(world, "GET", "/Users/22600001", status=200)


def test_who_is_put_into_a_group_follows_it_and_who_ends_leaves_it(world: ApiWorld) -> None:
    scim(world, "POST", "/Users", status=201, json=user("22900015"))
    sent = {"schemas": [GROUP], "displayName": "INF215", "members": [{"value": "22900015"}]}
    made = scim(world, "POST", "/Groups", status=201, json=sent)

    def follows(*wanted: str) -> bool:
        world.site.outbox.send_page()
        with world.site.database.read() as connection:
            return [each.element for each in held(connection, "22900015")] == list(wanted)

    wait_until(lambda: follows("INF215"), "the registry")
    scim(world, "DELETE", "/Users/22900015", status=204)
    assert "members" not in scim(world, "GET", f"/Groups/{made['id']}")
    wait_until(follows, "the registry")


def test_several_at_once_are_told_apart(world: ApiWorld) -> None:
    body: dict[str, Any] = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [
            {"method": "POST", "path": "/Users", "bulkId": "a", "data": user("22900012")},
            {"method": "POST", "path": "/Users", "bulkId": "b", "data": user("22900013", ine="wrong")},
            {"method": "DELETE", "path": "/Users/22600001"},
            {
                "method": "PATCH",
                "path": "/Users/bulkId:a",
                "data": patch({"op": "add", "path": f"{STUDENT}:usageName", "value": "Petit"}),
            },
        ],
    }
    done = scim(world, "POST", "/Bulk", "person.look", "person.put", status=200, json=body)["Operations"]
    assert [each["status"] for each in done] == ["201", "400", "403", "200"]
    assert scim(world, "GET", "/Users/22900012")[STUDENT]["usageName"] == "Petit"
    many = body | {"Operations": body["Operations"][:1] * 101}
    scim(world, "POST", "/Bulk", status=413, json=many)


def test_many_who_are_sent_at_once_are_answered_in_the_order_of_the_request(world: ApiWorld) -> None:
    numbers = [f"229003{n:02}" for n in range(12)]
    made = [{"method": "POST", "path": "/Users", "bulkId": each, "data": user(each)} for each in numbers]
    twice = made[3] | {"bulkId": "again", "data": user(numbers[3], usageName="Petit")}
    body: dict[str, Any] = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]}
    body["Operations"] = [*made[:8], twice, *made[8:]]
    done = scim(world, "POST", "/Bulk", status=200, json=body)["Operations"]
    assert [each["status"] for each in done] == ["201"] * 8 + ["409"] + ["201"] * 4
    assert [each["bulkId"] for each in done] == [*numbers[:8], "again", *numbers[8:]]
    places = [each["location"].rpartition("/")[2] for each in done if each["status"] == "201"]
    assert places == numbers
    assert "usageName" not in scim(world, "GET", f"/Users/{numbers[3]}")[STUDENT]
    logins = {scim(world, "GET", f"/Users/{each}")["userName"] for each in numbers}
    assert len(logins) == len(numbers)


def test_nothing_is_done_after_as_many_errors_as_are_accepted(world: ApiWorld) -> None:
    body: dict[str, Any] = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "failOnErrors": 1,
        "Operations": [
            {"method": "POST", "path": "/Users", "bulkId": "a", "data": user("22900401")},
            {"method": "POST", "path": "/Users", "bulkId": "b", "data": user("22900402", ine="wrong")},
            {"method": "POST", "path": "/Users", "bulkId": "c", "data": user("22900403")},
        ],
    }
    done = scim(world, "POST", "/Bulk", status=200, json=body)["Operations"]
    assert [each["status"] for each in done] == ["201", "400"]
    scim(world, "GET", "/Users/22900403", status=404)


def test_what_is_not_applied_in_time_is_sent_again_and_done_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scim_app, "WAIT_S_MAX", 0.0)
    with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}", per_minute=6) as world:
        for _ in range(2):
            answered = world.post("/scim/v2/Users", json=user("22900014"))
            assert (answered.status_code, answered.headers["retry-after"]) == (503, "30"), answered.text
        monkeypatch.setattr(scim_app, "WAIT_S_MAX", 30.0)
        with registry_running(world.site):
            # while nobody asked
            wait_until(lambda: find(world.site.database, "22900014") is not None, "the registry")
            made = scim(world, "POST", "/Users", status=201, json=user("22900014"))
            scim(world, "POST", "/Users", status=409, json=user("22900014"))  # it was answered
        assert made["userName"] == "zoe.lefevre"
        with closing(world.site.log.consumer("test", ("sesame.enrolments",), member="test")) as consumer:
            keys = [each.key for each in consumer.poll(5_000, 0.1)]
        assert keys.count("22900014") == 1
        monkeypatch.setattr(scim_app, "WAIT_S_MAX", 0.0)
        for _ in range(2):
            scim(world, "DELETE", "/Users/22900014", status=503)
        refused = world.get("/scim/v2/Users")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["status"] == "429"


def test_nobody_is_taken_for_another_by_mail_or_by_a_login(world: ApiWorld) -> None:
    """An account takeover by a mail address: ciso-assistant 4658."""
    held = scim(
        world, "POST", "/Users", status=201, json=user("22900501", personalMail="zoe@courriel.example")
    )
    before = scim(world, "GET", "/Users/22900501", status=200)
    addresses = [each["value"] for each in before["emails"]]
    assert addresses
    for number, mail in enumerate([*addresses, "zoe@courriel.example", held["userName"]], start=22900502):
        other = user(str(number), family="Petit", personalMail="petit@courriel.example")
        sent = other | {"userName": held["userName"], "emails": [{"value": mail, "primary": True}]}
        made = scim(world, "POST", "/Users", status=201, json=sent)
        assert made["id"] == str(number)
        assert made["userName"] != held["userName"]
        assert not {each["value"] for each in made["emails"]} & {mail, *addresses}
    assert scim(world, "GET", "/Users/22900501", status=200) == before


def test_the_operations_of_bulks_have_a_quota_of_their_own(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "BULK_PER_MINUTE", 5)
    world.ticking.now += 60
    look = [{"method": "DELETE", "path": f"/Users/2290060{n}"} for n in range(3)]
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": look}
    scim(world, "POST", "/Bulk", status=200, json=body)
    refused = world.post("/scim/v2/Bulk", json=body)
    assert (refused.status_code, refused.json()["status"]) == (429, "429")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert world.get("/scim/v2/Users").status_code == 200, "single requests have theirs"
    scim(world, "POST", "/Bulk", status=200, json=body | {"Operations": look[:2]})
    scim(world, "POST", "/Bulk", "registrar", status=200, json=body)
    world.ticking.now += 60
    scim(world, "POST", "/Bulk", status=200, json=body)
