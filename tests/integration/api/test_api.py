"""The API: who is let in to what, what is refused and how, pages, rates, and requests that are made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import event, select, update

from pipeline import audit
from sesame.acts.acts import RIGHTS, Role
from sesame.login.api_answers import UNDER_WAY_S_MAX, api_answers
from sesame.login.api_tokens import api_tokens
from sesame.operations.programs import tokens
from sesame.web.api.problems import Problem
from sesame.web.api.routes import BODY_BYTES_MAX, ROUTES, Route
from tests.integration.api.api_kit import CAMILLE, COMPLETED, FAILED, HOST, ApiWorld, api_world

SENTINELS = {
    ("GET", "/overview"): {"viewer", "support", "registrar", "operator", "administrator"},
    ("GET", "/students"): {"support", "operator", "administrator"},
    ("GET", "/audit"): {"operator", "administrator"},
    ("GET", "/imports"): {"registrar", "operator", "administrator"},
    ("POST", "/holds/place"): {"support", "operator", "administrator"},
    ("POST", "/holds/lift"): {"operator", "administrator"},
    ("POST", "/replays"): {"operator", "administrator"},
    ("POST", "/identities/merge"): {"registrar", "operator", "administrator"},
    ("POST", "/adoption/decide"): {"operator", "administrator"},
    ("POST", "/erasures"): {"administrator"},
    ("GET", "/audit/export"): {"operator", "administrator"},
}
"""Who may what, written a second time."""


def problem(response: Any, status: int) -> Problem:
    """What a refusal says; it has the form that it should have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate(response.json())
    assert found.status == status
    assert found.title
    return found


def filled(route: Route) -> str:
    values = {
        "import_id": "1",
        "letter": "c" * 12,
        "student_number": COMPLETED,
        "target": "moodle",
        "day": "2026-08-31",
        "receiver": "idp",
        "list": "pix",
        "eppn": "personne@etu.univ-exemple.fr",
        "question_id": "abcdef",
        "erasure_id": "abcdef",
    }
    path = route.path.format_map({**values, "replay_id": "mzft5H7t-vj5", "plan_id": "0123"})
    return f"{path}?wait=false" if path == "/completions" else path


# --- who is let in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_lets_in_the_roles_of_its_act_and_nobody_else(
    route: Route, module_world: ApiWorld
) -> None:
    let_in = set()
    for role in Role:
        answered = module_world.ask(
            route.method, filled(route), role, json={} if route.method == "POST" else None
        )
        if answered.status_code == 403:
            assert problem(answered, 403).type == "urn:sesame:error:ActRefused"
        else:
            assert answered.status_code not in (401, 429, 500), answered.text
            let_in.add(str(role))
    assert let_in == {str(role) for role in RIGHTS[route.act]}
    assert let_in == SENTINELS.get((route.method, route.path), let_in)


def test_the_sentinels_are_routes() -> None:
    assert set(SENTINELS) <= {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_token_for_one_act_does_that_act_and_no_other(route: Route, module_world: ApiWorld) -> None:
    body: dict[str, Any] = {"json": {}} if route.method == "POST" else {}
    scope = f"{route.act}:idp" if route.act == "events.poll" else route.act
    assert module_world.ask(route.method, filled(route), scope, **body).status_code not in (401, 403, 500)
    other = "overview.show" if route.act != "overview.show" else "audit.list"
    problem(module_world.ask(route.method, filled(route), other, **body), 403)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_without_a_token_that_is_in_force_nobody_is_let_in(route: Route, module_world: ApiWorld) -> None:
    world, path = module_world, f"/v1{filled(route)}"
    good = world.token("administrator")
    forged = good[:-1] + ("0" if good[-1] != "0" else "1")
    asked: list[dict[str, Any]] = [
        {},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": f"Basic {good}"}},
        {"headers": {"Authorization": f"Bearer {forged}"}},
        {"headers": {"Authorization": f"Bearer {good} {good}"}},
        {"params": {"access_token": good}},
        {"headers": {"Cookie": f"token={good}"}},
    ]
    for each in asked:
        answered = world.client.request(route.method, path, **each)
        assert problem(answered, 401).type == "urn:sesame:error:TokenRefused"
        given = each.get("headers", {}).get("Authorization", "").startswith("Bearer ")
        error = ', error="invalid_token"' if given else ""
        assert answered.headers["www-authenticate"] == f'Bearer realm="sesame"{error}'


def test_a_token_that_is_revoked_or_over_is_refused_from_its_next_request_on(world: ApiWorld) -> None:
    one = world.token("viewer")
    assert world.get("/overview", token=one).status_code == 200
    tokens.revoke(world.site, CAMILLE, one.split("_")[1])
    problem(world.get("/overview", token=one), 401)
    two = world.token("support")
    with world.site.database.write() as connection:
        connection.execute(update(api_tokens).values(expires_at=world.site.database.now(connection)))
    problem(world.get("/overview", token=two), 401)


def test_the_audit_names_the_token_that_looked_and_the_token_that_acted(world: ApiWorld) -> None:
    token = world.token("operator")
    name = f"token test ({token.split('_')[1]})"
    assert world.get(f"/students/{COMPLETED}", token=token).status_code == 200
    body = {"student_number": COMPLETED, "kind": "suspended", "reason": "vol"}
    assert world.post("/holds/place", token=token, json=body).json()["changed"] is True
    with world.site.database.read() as connection:
        noted = [(each.actor, each.action) for each in audit.entries(connection, limit=2)]
    assert noted == [(name, "hold.place"), (name, "status.show")]


# --- what is answered ---------------------------------------------------------------------------------


def test_what_is_answered_is_what_the_command_prints(module_world: ApiWorld) -> None:
    page = module_world.get("/students", "support", params={"state": "waiting"}).json()
    assert [one["student_number"] for one in page["students"]]
    assert {one["state"] for one in page["students"]} == {"waiting"}
    told = (Path(__file__).parents[2] / "cli" / "corpus" / "students-waiting.txt").read_text(encoding="utf-8")
    printed = json.loads(told[told.index("--json") :].partition("--- stdout\n")[2].partition("--- ")[0])
    assert page == printed


def test_where_a_student_stands_is_read_with_few_statements(module_world: ApiWorld) -> None:
    """Each costs more than the database needs for it: what only some students' targets need is not read."""
    world, said = module_world, list[str]()

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        said.append(statement)

    world.get(f"/students/{COMPLETED}")
    event.listen(world.site.database.engine, "before_cursor_execute", note)
    try:
        assert world.get(f"/students/{COMPLETED}").json()["state"] == "completed"
    finally:
        event.remove(world.site.database.engine, "before_cursor_execute", note)
    selects = [each for each in said if each.startswith("SELECT") and "clock_timestamp" not in each]
    audit_and_token = [each for each in selects if "audit" in each or "api_tokens" in each or "pg_" in each]
    assert len(selects) - len(audit_and_token) <= 11, [
        each.partition("FROM")[2].split()[0] for each in selects
    ]


def test_every_answer_is_for_nobody_else_to_keep_or_frame(module_world: ApiWorld) -> None:
    for answered in (
        module_world.get("/overview"),
        module_world.get("/nothing"),
        module_world.client.get("/v1/overview"),
    ):
        headers = answered.headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["strict-transport-security"].startswith("max-age=")
        assert "set-cookie" not in headers
        assert not [name for name in headers if name.startswith("access-control-")]


def test_another_host_is_not_served(module_world: ApiWorld) -> None:
    problem(module_world.get("/overview", headers={"Host": f"evil.{HOST}"}), 421)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/students/22609999", {}, 404),
        ("GET", "/dead-letters/zzzz", {}, 404),
        ("GET", "/replays/zzzz", {}, 404),
        ("GET", "/imports/4711", {}, 404),
        ("GET", "/imports/0", {}, 422),
        ("GET", "/identities/22609999", {}, 404),
        ("POST", "/plans/zzzz/release", {}, 404),
        ("DELETE", "/overview", {}, 405),
        ("GET", "/students?state=asleep", {}, 422),
        ("GET", "/students?cause=nothing_like_it", {}, 422),
        ("GET", "/students?stat=waiting", {}, 422),
        ("GET", "/students?state=waiting&state=failed", {}, 422),
        ("POST", "/enrolments?accept=a&accept=b", {"content": b"{}"}, 415),
        ("GET", "/students?limit=0", {}, 422),
        ("GET", "/students?cursor=forged", {}, 400),
        ("GET", "/audit?since=yesterday", {}, 422),
        ("GET", "/dead-letters?cause=%00", {}, 422),
        ("GET", "/students/%00", {}, 422),
        ("POST", "/holds/place", {"json": {}}, 422),
        ("POST", "/holds/place", {"content": b"{}"}, 415),
        ("POST", "/holds/place", {"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ("POST", "/quarantine/lift", {"json": {"consumer": "moodle", "reason": "a\0b"}}, 422),
        ("POST", "/quarantine/lift", {"json": {"consumer": "moodle", "reason": "vu"}}, 409),
        ("POST", "/quarantine/lift", {"json": {"consumer": "x", "reason": "vu", "dry_run": True}}, 422),
        ("POST", "/prolongations", {"json": {"student_number": COMPLETED, "reason": "vu", "days": 3}}, 422),
        (
            "POST",
            "/replays/preview",
            {"json": {"consumer": "moodle", "students": [FAILED], "selected": 1}},
            503,
        ),
        ("POST", "/replays/select", {"json": {"consumer": "nobody", "everybody": True}}, 422),
        ("POST", "/provisions", {"json": {"student_number": "22600020"}}, 409),
    ],
)
def test_a_refusal_says_what_is_wrong_as_rfc_9457_has_it(
    method: str, path: str, options: dict[str, Any], status: int, module_world: ApiWorld
) -> None:
    answered = module_world.ask(method, path, "administrator", **options)
    problem(answered, status)
    assert ("retry-after" in answered.headers) == (status == 503)
    if status == 405:
        assert answered.headers["allow"] == "GET"


def test_each_thing_that_is_wrong_is_told_by_its_place_and_without_its_value(module_world: ApiWorld) -> None:
    body = {"student_number": 17, "kind": "Maëlwenn", "reason": ""}
    found = problem(module_world.post("/holds/place", json=body), 422)
    assert sorted(str(each.pointer) for each in found.errors) == ["/kind", "/reason", "/student_number"]
    assert "Maëlwenn" not in found.model_dump_json()
    found = problem(module_world.get("/students?limit=many"), 422)
    assert [each.parameter for each in found.errors] == ["limit"]


def test_refusals_speak_the_language_that_is_asked_for(module_world: ApiWorld) -> None:
    said = {
        accepted: module_world.get("/students/22609999", headers={"Accept-Language": accepted}).json()[
            "detail"
        ]
        for accepted in ("fr-FR, en;q=0.5", "en", "de, fr;q=0.2")
    }
    assert said["en"].startswith("no account for student number")
    assert said["fr-FR, en;q=0.5"] == said["de, fr;q=0.2"] != said["en"]


def test_a_body_that_is_too_large_is_refused_whatever_its_head_says(module_world: ApiWorld) -> None:
    body = json.dumps({"consumer": "moodle", "reason": "x" * BODY_BYTES_MAX})
    answered = module_world.post(
        "/quarantine/lift", content=body, headers={"content-type": "application/json"}
    )
    assert problem(answered, 413).type == "urn:sesame:error:BodyUnread"

    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    answered = module_world.post(
        "/quarantine/lift", content=parts(), headers={"content-type": "application/json"}
    )
    problem(answered, 413)


# --- pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "each", "key"),
    [
        ("/students", "students", "student_number"),
        ("/students?state=completed", "students", "student_number"),
        ("/dead-letters", "letters", "id"),
        ("/imports", "imports", "id"),
        ("/audit", None, "id"),
    ],
)
def test_the_links_lead_through_all_of_a_list_once(
    path: str, each: str | None, key: str, module_world: ApiWorld
) -> None:
    def listed(response: Any) -> list[object]:
        found = response.json()
        return [one[key] for one in (found if each is None else found[each])]

    def link(response: Any) -> str | None:
        named = response.links.get("next")
        return None if named is None else str(named["url"])

    joint = "&" if "?" in path else "?"
    whole = [one for one in listed(module_world.get(f"{path}{joint}limit=1000")) if path != "/audit" or one]
    assert len(whole) > 1
    seen: list[object] = []
    url: str | None = f"{path}{joint}limit=1"
    while url is not None:
        page = module_world.get(url)
        assert page.status_code == 200
        seen += listed(page)
        url = link(page)
        if path == "/audit" and len(seen) == 5:
            break
    assert seen == whole[: len(seen)]
    assert len(seen) == len(whole) or path == "/audit"


def test_a_cursor_is_good_for_its_own_list_and_filter_only(module_world: ApiWorld) -> None:
    first = module_world.get("/students?limit=1&state=completed")
    url = first.links["next"]["url"]
    cursor = url.partition("cursor=")[2]
    assert module_world.get(url).status_code == 200
    assert module_world.get(f"/students?state=completed&limit=7&cursor={cursor}").status_code == 200
    for other in (
        f"/students?limit=1&cursor={cursor}",
        f"/students?limit=1&state=waiting&cursor={cursor}",
        f"/dead-letters?cursor={cursor}",
        f"/students?limit=1&state=completed&cursor={cursor[:-2]}",
        "/students?limit=1&state=completed&cursor=22600001",
    ):
        assert problem(module_world.get(other), 400).type == "urn:sesame:error:UnfitCursor"


# --- rates --------------------------------------------------------------------------------------------


def test_a_token_that_asks_too_often_waits_and_the_others_do_not(tmp_path: Path) -> None:
    with api_world(tmp_path, f"sqlite:///{tmp_path / 'store.db'}", per_minute=3) as world:
        left = [world.get("/overview", "viewer").headers["ratelimit"] for _ in range(3)]
        assert left == ['"token";r=2;t=60', '"token";r=1;t=60', '"token";r=0;t=60']
        world.ticking.now += 20.5
        refused = world.get("/overview", "viewer")
        assert problem(refused, 429).type == "urn:sesame:error:TooManyRequests"
        assert refused.headers["retry-after"] == "40"
        assert refused.headers["ratelimit-policy"] == '"token";q=3;w=60'
        assert world.get("/overview", "support").status_code == 200
        world.ticking.now += 40
        assert world.get("/overview", "viewer").status_code == 200


# --- requests that are made again ---------------------------------------------------------------------

HOLD = {"student_number": COMPLETED, "kind": "suspended", "reason": "vol"}


def place(world: ApiWorld, key: str | bytes, body: dict[str, Any] = HOLD, *scopes: str) -> Any:
    return world.post("/holds/place", *scopes, json=body, headers={"Idempotency-Key": key})


def placed(world: ApiWorld) -> int:
    """How often this was done."""
    with world.site.database.read() as connection:
        noted = audit.entries(connection, action="hold.place", student=COMPLETED, limit=99)
    return sum(each.reason == HOLD["reason"] for each in noted)


def test_the_same_key_is_the_same_answer_and_is_done_once(world: ApiWorld) -> None:
    first = place(world, '"k-1"')
    assert first.json()["changed"] is True
    again = place(world, "k-1")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert "idempotency-replayed" in again.headers
    assert "idempotency-replayed" not in first.headers
    assert placed(world) == 1
    assert place(world, "k-2").status_code == 200
    assert placed(world) == 2, "another key is another request"


def test_a_key_is_of_one_request_and_of_one_token(world: ApiWorld) -> None:
    assert place(world, "k").status_code == 200
    found = problem(place(world, "k", HOLD | {"reason": "autre"}), 422)
    assert found.type == "urn:sesame:error:KeyOfAnother"
    other = place(world, "k", HOLD | {"reason": "autre"}, "operator")
    assert other.status_code == 200, "another token's keys are others"
    for wrong in ("", "a b", "x" * 129, b"\xc3\xa9"):
        assert problem(place(world, wrong), 400).type == "urn:sesame:error:UnfitKey"


def test_while_it_is_answered_it_is_not_answered_again_until_whoever_did_must_be_dead(
    world: ApiWorld,
) -> None:
    place(world, "k")
    with world.site.database.write() as connection:
        connection.execute(update(api_answers).values(sealed=None))
    assert problem(place(world, "k"), 409).type == "urn:sesame:error:StillUnderWay"
    with world.site.database.write() as connection:
        begun = api_answers.c.begun_at - UNDER_WAY_S_MAX
        connection.execute(update(api_answers).values(begun_at=begun))
    assert place(world, "k").status_code == 200


def test_after_a_day_a_key_is_new(world: ApiWorld) -> None:
    place(world, "k")
    with world.site.database.write() as connection:
        connection.execute(update(api_answers).values(expires_at=world.site.database.now(connection)))
    answered = place(world, "k", HOLD | {"reason": "autre"})
    assert (answered.status_code, "idempotency-replayed" in answered.headers) == (200, False)


def test_a_refusal_is_not_kept(world: ApiWorld) -> None:
    wrong = HOLD | {"kind": "nothing"}
    problem(place(world, "k", wrong), 422)
    assert place(world, "k").status_code == 200


def test_of_many_at_once_with_one_key_one_is_done(world: ApiWorld) -> None:
    world.token("administrator")
    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda _: place(world, "k"), range(8)))
    done = [each for each in answered if each.status_code == 200]
    assert {each.status_code for each in answered} <= {200, 409}
    assert sum("idempotency-replayed" not in each.headers for each in done) == 1
    assert placed(world) == 1


def test_nothing_of_an_answer_can_be_read_in_the_store(world: ApiWorld) -> None:
    place(world, "k-secret")
    body = {"students": ["22699998"], "passwords": {"22699998": "un mot de passe assez long 9"}}
    answered = world.post("/activations", json=body, headers={"Idempotency-Key": "k-other"})
    assert answered.json()["not_known_yet"] == ["22699998"]
    with world.site.database.read() as connection:
        rows = [tuple(row) for row in connection.execute(select(api_answers))]
    assert len(rows) == 2
    text = repr(rows)
    for secret in (COMPLETED, "22699998", "k-secret", "suspended", world.token("administrator")):
        assert secret not in text


# --- what it says of itself ---------------------------------------------------------------------------


def test_it_describes_every_route_with_its_roles(module_world: ApiWorld) -> None:
    document = module_world.client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/v1"}]
    for route in ROUTES:
        said = document["paths"][route.path][route.method.lower()]
        assert f"`{route.act}`" in said["description"]
        for role in RIGHTS[route.act]:
            assert role in said["description"]
    assert TypeAdapter(dict[str, Any]).validate_python(document["components"]["securitySchemes"]["token"])
