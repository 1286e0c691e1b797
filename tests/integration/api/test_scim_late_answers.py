"""Requests by SCIM that are answered later: 202, then a token once the registry has applied them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from producers.registrar import accepted_requests, external_ids
from producers.registrar.accepted_requests import AcceptedRequest
from sandbox.ports import free_port
from sandbox.process import wait_until
from sesame.app.console import serve
from sesame.operations.programs import late_answers
from sesame.web.api.scim import LateAnswers, scim_app
from tests.integration.api.api_kit import COMPLETED, HOST, ApiWorld, api_world
from tests.integration.api.scim_in_kit import ERROR, STUDENT, patch, registry_running, scim, user
from tests.integration.api.test_scim_sends import GUARD
from tests.integration.targets.site_kit import in_thread

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")

ASYNC: Final = "urn:ietf:params:scim:event:misc:asyncresp"
LATER: Final = {"Prefer": "respond-async"}
PUT_ON, SHUT, ENDED, NEW, TWIN = (f"2291000{each}" for each in range(1, 6))


@pytest.fixture
def worlds(empty_url: str, tmp_path: Path) -> Callable[..., AbstractContextManager[ApiWorld]]:
    """The console; begun `again`, it goes on with the same store and log."""
    (tmp_path / "idp.keys").write_text(f"whsk_{base64.b64encode(bytes(range(32))).decode()}")
    (tmp_path / "idp.keys").chmod(0o600)
    receiver = f'[webhooks.receivers.idp]\nform = "set"\nkey_file = "idp.keys"\ntypes = ["{ASYNC}"]\n'
    receiver = f"port = {free_port()}\n{receiver}"
    return lambda **how: api_world(tmp_path, empty_url, registrar=GUARD, more=receiver, **how)


@pytest.fixture
def world(worlds: Callable[..., AbstractContextManager[ApiWorld]]) -> Iterator[ApiWorld]:
    with worlds() as made:
        yield made


def later(world: ApiWorld, method: str, path: str, **options: Any) -> httpx.Response:
    return world.ask(method, f"/scim/v2{path}", headers=LATER, **options)


def accepted(world: ApiWorld, method: str, number: str, **options: Any) -> str:
    """The name of the answer of a request that was accepted."""
    answered = later(world, method, "/Users" if method == "POST" else f"/Users/{number}", **options)
    assert (answered.status_code, answered.content) == (202, b""), answered.text
    assert answered.headers["preference-applied"] == "respond-async"
    assert answered.headers["location"] == f"https://{HOST}/scim/v2/Users/{number}"
    return answered.headers["set-txn"]


@contextmanager
def console_running(world: ApiWorld) -> Iterator[None]:
    """`sesame console` itself tells what came of requests meanwhile."""
    with in_thread(partial(serve, world.site)):
        yield


def told(world: ApiWorld) -> dict[str, Any]:
    """The claims of the tokens that wait, by `txn`, as joserfc reads them."""
    tokens = world.post("/events/idp", "events.poll:idp", json={"maxEvents": 50}).json()["sets"].values()
    keys = KeySet.import_key_set(world.client.get("/v1/jwks.json").json())
    read = [dict(jwt.decode(each, keys, algorithms=["EdDSA"]).claims) for each in tokens]
    return {each["txn"]: each for each in read}


def test_what_came_of_a_request_is_told_under_its_name_whoever_was_restarted_meanwhile(
    worlds: Callable[..., AbstractContextManager[ApiWorld]],
) -> None:
    with worlds() as world:
        with registry_running(world.site):
            for number in (PUT_ON, SHUT, ENDED):
                scim(world, "POST", "/Users", status=201, json=user(number))
        shut = patch({"op": "replace", "path": "active", "value": False})
        twin = user(TWIN, birthDate=user(PUT_ON)[STUDENT]["birthDate"])
        names = {
            "POST": accepted(world, "POST", NEW, json=user(NEW)),
            "PUT": accepted(world, "PUT", PUT_ON, json=user(PUT_ON, usageName="Petit")),
            "PATCH": accepted(world, "PATCH", SHUT, json=shut),
            "DELETE": accepted(world, "DELETE", ENDED),
            "twin": accepted(world, "POST", TWIN, json=twin),
        }
        assert len(set(names.values())) == 5
        LateAnswers(world.site, f"https://{HOST}/scim/v2").tell()
        assert told(world) == {}
    with worlds(again=True) as world:
        with registry_running(world.site), console_running(world):
            wait_until(lambda: len(told(world)) == 5, "the console")
        claims = told(world)
        users = {number: scim(world, "GET", f"/Users/{number}") for number in (NEW, PUT_ON, SHUT)}
        scim(world, "GET", f"/Users/{ENDED}", status=404)
        assert (users[PUT_ON][STUDENT]["usageName"], users[SHUT]["active"]) == ("Petit", False)
        for method, number, status in (("POST", NEW, "201"), ("PUT", PUT_ON, "200"), ("PATCH", SHUT, "200")):
            said = claims[names[method]]
            assert said["sub_id"] == {"format": "scim", "uri": f"/Users/{number}"}
            version, location = users[number]["meta"]["version"], users[number]["meta"]["location"]
            expected = {"method": method, "status": status, "version": version, "location": location}
            assert said["events"] == {ASYNC: expected}
        gone = {"method": "DELETE", "status": "204", "location": f"https://{HOST}/scim/v2/Users/{ENDED}"}
        assert claims[names["DELETE"]]["events"] == {ASYNC: gone}
        refused = claims[names["twin"]]["events"][ASYNC]
        assert (refused["method"], refused["status"]) == ("POST", "409")
        assert refused["response"]["schemas"] == [ERROR]
        assert refused["response"]["status"] == "409"
        assert "sesame identities" in refused["response"]["detail"]
        with world.site.database.read() as connection:
            assert not external_ids.is_kept(connection, TWIN), "once it is settled, the same is sent again"
        jtis = [each["jti"] for each in claims.values()]
        assert len({*jtis, *claims}) == 10  # a token's name is not the request's
        world.post("/events/idp", "events.poll:idp", json={"maxEvents": 0, "ack": jtis})
        assert told(world) == {}
        scim(world, "POST", "/Users", status=409, json=user(NEW))  # it was answered
        with registry_running(world.site):
            assert later(world, "DELETE", f"/Users/{ENDED}").status_code == 404
            later(world, "PUT", f"/Users/{SHUT}", json=user(SHUT))
            wait_until(lambda: scim(world, "GET", f"/Users/{SHUT}")["active"], "the registry")


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_of_two_requests_for_one_person_the_second_does_not_undo_the_first(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = accepted(world, "POST", PUT_ON, json=user(PUT_ON))
    parts = {f"{STUDENT}:usageName": "Petit", f"{STUDENT}:personalMail": "zoe@courriel.example"}
    first, second = (patch({"op": "add", "path": path, "value": value}) for path, value in parts.items())
    where = f"/Users/{PUT_ON}"
    monkeypatch.setattr(scim_app, "WAIT_S_MAX", 0.0)
    for headers in (LATER, {}):
        scim(world, "PATCH", where, status=503, json=first, headers=headers)
        scim(world, "DELETE", where, status=503, headers=headers)
        scim(world, "POST", "/Users", status=503, json=user(PUT_ON), headers=headers)
    scim(world, "GET", where, status=404)
    monkeypatch.setattr(scim_app, "WAIT_S_MAX", 30.0)
    with registry_running(world.site), console_running(world):
        assert later(world, "PATCH", where, json=first).status_code in (200, 202)
        now = scim(world, "PATCH", where, status=200, json=second)[STUDENT]
        scim(world, "DELETE", where, status=204)
    assert [now[path.rpartition(":")[2]] for path in parts] == list(parts.values())
    assert told(world)[name]["events"][ASYNC]["status"] == "201"
    monkeypatch.setattr(late_answers, "WAITED_S_MAX", 0.0)
    name = accepted(world, "POST", NEW, json=user(NEW))
    with world.site.database.write() as connection:  # the first that is looked at, and nobody can answer it
        accepted_requests.add(connection, AcceptedRequest("0", COMPLETED, "BREW", [], False, 0.0))
    LateAnswers(world.site, "").tell()
    assert told(world)[name]["events"][ASYNC]["status"] == "503", "the registry has not been seen for days"


@pytest.mark.parametrize("empty_url", ["sqlite"], indirect=True)
def test_what_is_wrong_or_done_in_the_time_that_was_named_is_answered_at_once(world: ApiWorld) -> None:
    wrong = user(NEW, ine="too short")
    assert later(world, "POST", "/Users", json=wrong).status_code == 400
    shut = user(NEW) | {"active": False}
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{"method": "POST", "path": "/Users", "bulkId": "a", "data": user(TWIN)}],
    }
    with registry_running(world.site):
        assert later(world, "POST", "/Users", json=shut).status_code == 201  # somebody new who is shut
        assert later(world, "POST", "/Bulk", json=body).json()["Operations"][0]["status"] == "201"
        waits = {"Prefer": 'handling=lenient, Respond-Async; a=b, wait="9000"'}
        answered = world.ask("POST", "/scim/v2/Users", headers=waits, json=user(SHUT))
    assert (answered.status_code, answered.json()["id"]) == (201, SHUT)
    said = scim(world, "GET", "/ServiceProviderConfig")["securityEvents"]
    assert said == {"asyncRequest": "request", "eventUris": [ASYNC]}
    assert told(world) == {}
