"""What programs are refused, and in which words: none of files, of commands or of a library."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import select

from consumers.registry.people import people
from sesame.acts.acts import Role, utc
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.passes import Pass
from sesame.testing.servers import registry_kit
from sesame.testing.servers.registry_kit import enrolled
from sesame.web.api.api_app import API_PREFIX
from sesame.web.api.problems import Problem
from sesame.web.api.routes import ROUTES
from tests.integration.api.api_kit import ApiWorld
from tests.integration.api.scim_in_kit import STUDENT, enrolment, patch, scim, user

LINES: Final = (Path(__file__).parents[3] / "examples" / "pegase-2026.jsonl").read_text("utf-8").splitlines()
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
JSON: Final = {"Content-Type": "application/json"}
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
TEACHING: Final = "urn:sesame:params:scim:schemas:1.0:TeachingGroup"
UNKNOWN: Final = "22609999"

OF_FILES: Final = re.compile(
    r"\bfiles?\b|\bexports?\b|\blines? \d|header|spreadsheet|\.jsonl|\.csv|--\w|/tmp|/dev/|CSV|xlsx|jq ",
    re.IGNORECASE,
)
OF_PYDANTIC: Final = re.compile(
    r"Input should|Field required|Extra inputs|Value error|String should|List should|Tuple should|JSON decode"
    r"|validation error|unable to|pydantic|valid (string|integer|boolean|number|dictionary|list|tuple)"
)
OF_US: Final = re.compile(r"\belement\b|display_name|external_id|step_version|\bprimary\b|_\w+ is not")


def refused(answered: Any, *statuses: int) -> str:
    """All that a refusal says."""
    assert answered.status_code in (statuses or (400, 422)), answered.text
    said = answered.json()
    texts = [said.get("title", ""), said.get("detail", ""), said.get("remedy", "")]
    return " | ".join([*texts, *(each["detail"] for each in said.get("errors", ()))])


def in_plain_words(text: str) -> None:
    for pattern in (OF_FILES, OF_PYDANTIC, OF_US):
        assert not pattern.search(text), text


# --- words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "query", "says"),
    [
        (b"", "", "nothing was sent"),
        (b"\n \n", "", "nothing was sent"),
        (b"not json\n", "", "no JSON object"),
        (b"[1]\n", "", "JSON list"),
        (b"{\n", "", "several"),
        (b'{"x": 1}\n', "", "codeApprenant"),
        (b"\xff\xfe\n", "", "UTF-8"),
        (b"\x1f\x8bzzz", "", "UTF-8"),
        (LINES[0].encode(), "?full_year=2030", "2030"),
        (LINES[0].encode(), "?accept=22600001:00000000", "accept"),
    ],
)
def test_lines_that_cannot_be_used_are_refused_without_a_word_of_files(
    body: bytes, query: str, says: str, module_world: ApiWorld
) -> None:
    said = refused(module_world.post(f"/enrolments{query}", "registrar", content=body, headers=NDJSON), 422)
    assert says in said
    in_plain_words(said.replace("in each line", "").replace("line 1", ""))


def test_a_wrong_value_is_told_with_what_a_program_can_do(world: ApiWorld) -> None:
    one = json.loads(LINES[0])
    wrong = [
        one | {"codeApprenant": "22800001", "nomFamille": "LefÃ¨vre"},
        one | {"codeApprenant": "22800002", "nomFamille": "a\u0007b"},
        one | {"codeApprenant": "22800003", "codeFormation": None},
        one | {"codeApprenant": "22800004", "prenom": ["a"]},
    ]
    body = "".join(json.dumps(each) + "\n" for each in wrong).encode()
    told = world.post("/enrolments", "registrar", content=body, headers=NDJSON).json()["rejected"]
    assert [each["line"] for each in told] == [1, 2, 3, 4]
    for each in told:
        in_plain_words(f"{each['detail']} {each['remedy']}")
    code = re.search(r"accept=(\S+)\)", told[0]["detail"])
    assert code is not None
    taken = world.post(f"/enrolments?accept={code[1]}", "registrar", json=wrong[0])
    assert taken.json()["report"]["recorded"] == 1


@pytest.mark.parametrize("language", ["en", "fr"])
def test_each_route_that_takes_a_body_says_what_is_wrong_in_our_words(
    language: str, module_world: ApiWorld
) -> None:
    """Every name is given something of every other kind."""
    seen = 0
    described = module_world.get("/openapi.json").json()
    headers = {"Accept-Language": language}
    for route in ROUTES:
        said = described["paths"][route.path].get("post", {}).get("requestBody", {}).get("content", {})
        schema = said.get("application/json", {}).get("schema", {})
        if route.method != "POST" or "$ref" not in schema:
            continue
        path = re.sub(r"\{\w+\}", "idp", route.path)
        names = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        others: list[Any] = [7.5, "é" * 9, [{}], {"a": []}, None]
        for body in [*(dict.fromkeys(names, each) for each in others), {}, {"nothing_like_it": 1}, [], "x"]:
            answered = module_world.post(path, json=body, headers=headers)
            if answered.status_code == 422:
                in_plain_words(refused(answered))
                seen += 1
    assert seen > 100
    for path in ("/students?limit=many", "/students?state=asleep", "/export/2026-13-01", "/export/today"):
        in_plain_words(refused(module_world.get(path, headers=headers)))


def one(number: str, *enrolments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return user(number, *enrolments) | changes


def group(**changes: Any) -> dict[str, Any]:
    teaching = {"year": 2026, "unit": "INF101", "group": "TD2"} | changes.pop("teaching", {})
    said = {"schemas": [GROUP, TEACHING], "displayName": "INF101 TD2", TEACHING: {"teaching": teaching}}
    return said | changes


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/Users", one("22800010", enrolment(administrative="zz")), "enrolments.administrative"),
        ("/Users", one("22800010", enrolment(pedagogical="zz")), "enrolments.pedagogical"),
        ("/Users", one("22800010", enrolment(year="abc")), "year"),
        ("/Users", one("22800010", enrolment(year=1800)), "year"),
        ("/Users", one("22800010", enrolment(stepLabel="x" * 600)), "stepLabel"),
        ("/Users", one("22800010", enrolment(stepVersion="é é")), "stepVersion"),
        ("/Users", one("22800010", enrolment(), enrolment(step="L1MATH")), "enrolments.main"),
        ("/Users", one("22800010", enrolment(), enrolment(pedagogical="validated")), "twice"),
        ("/Users", one("22800010", active="perhaps"), "active"),
        ("/Users", one("22800010", name={"familyName": "LefÃ¨vre", "givenName": "Zoé"}), "accept="),
        ("/Users", one("22800010", name={"familyName": "a\u0007", "givenName": "Zoé"}), "familyName"),
        ("/Groups", group(teaching={"unit": "é é"}), "unit"),
        ("/Groups", group(teaching={"group": "é"}), "group"),
        ("/Groups", group(teaching={"year": 1}), "year"),
        ("/Groups", group(displayName="a\u0007"), "displayName"),
        ("/Groups", group(externalId="x" * 300), "externalId"),
        ("/Groups", {"schemas": [GROUP], "displayName": "é é"}, "unit"),
    ],
)
def test_scim_says_what_is_wrong_by_the_names_of_its_schemas(
    path: str, body: dict[str, Any], says: str, module_world: ApiWorld
) -> None:
    said = scim(module_world, "POST", path, status=400, json=body)["detail"]
    assert says in said
    in_plain_words(said)


def test_scim_says_so_in_a_bulk_and_of_a_part_too(world: ApiWorld) -> None:
    bulk = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [
            {"method": "POST", "path": "/Users", "bulkId": "1", "data": one("22800011", active="perhaps")}
        ],
    }
    [answered] = scim(world, "POST", "/Bulk", status=200, json=bulk)["Operations"]
    in_plain_words(answered["response"]["detail"])
    number = scim(world, "GET", "/Users?count=1")["Resources"][0]["id"]
    half = patch({"op": "replace", "path": "active", "value": "perhaps"})
    in_plain_words(scim(world, "PATCH", f"/Users/{number}", status=400, json=half)["detail"])
    made = scim(world, "POST", "/Groups", status=201, json=group())
    renamed = group(displayName="a\u0007")
    in_plain_words(scim(world, "PUT", f"/Groups/{made['id']}", status=400, json=renamed)["detail"])
    for query in ("count=many", "startIndex=a"):
        in_plain_words(scim(world, "GET", f"/Users?{query}", status=400)["detail"])


# --- two readings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/holds/place", '{"student_number":"1","kind":"suspended","reason":"a","reason":"b"}'),
        ("/enrolments", LINES[0][:-1] + ', "codeApprenant": "22600099"}'),
        ("/scim/v2/Users", json.dumps(user("22800020"))[:-1] + ', "active": false}'),
        ("/scim/v2/Users", json.dumps(user("22800020"))[:-1] + ', "ACTIVE": false}'),
        (
            "/scim/v2/Users",
            json.dumps(user("22800020")).replace('"birthDate"', '"ine": "1", "INE": "2", "birthDate"'),
        ),
    ],
)
def test_a_name_that_is_given_twice_is_refused(path: str, body: str, module_world: ApiWorld) -> None:
    said = refused(module_world.post(path, content=body, headers=JSON), 400 if "scim" in path else 422)
    assert "twice" in said


def test_a_parameter_and_a_key_that_are_given_twice_are_refused(world: ApiWorld) -> None:
    assert "twice" in scim(world, "GET", "/Users?count=1&count=2", status=400)["detail"]
    body = {"student_number": "22600001", "kind": "suspended", "reason": "vol"}
    headers = [
        ("Authorization", f"Bearer {world.token('administrator')}"),
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
    ]
    answered = world.client.post(f"{API_PREFIX}/holds/place", headers=headers, json=body)
    assert "twice" in refused(answered, 400)


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\u061c"])
def test_bidirectional_controls_are_refused_in_names(mark: str, world: ApiWorld) -> None:
    sent = [
        ("/scim/v2/Users", one("22800030", name={"familyName": f"Le{mark}fèvre", "givenName": "Zoé"})),
        (
            "/scim/v2/Users",
            one("22800030") | {STUDENT: {**one("22800030")[STUDENT], "usageName": f"{mark}A"}},
        ),
        ("/scim/v2/Groups", group(displayName=f"INF{mark}101")),
        ("/enrolments", json.loads(LINES[0]) | {"nomFamille": f"Le{mark}fèvre"}),
        ("/holds/place", {"student_number": "22600001", "kind": "suspended", "reason": f"v{mark}ol"}),
    ]
    for path, body in sent:
        for ascii_only in (True, False):
            text = json.dumps(body, ensure_ascii=ascii_only).encode()
            status = 400 if "scim" in path else 422
            assert "bidirectional" in refused(world.post(path, content=text, headers=JSON), status), path


# --- paths and methods --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_method_that_a_path_does_not_have_is_a_problem_with_all_that_it_has(
    method: str, module_world: ApiWorld
) -> None:
    described = module_world.get("/openapi.json").json()["paths"]
    for path, operations in described.items():
        has = {each.upper() for each in operations}
        fits = [each for each in described if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)]
        if any(method.lower() in described[each] for each in fits):
            continue
        answered = module_world.ask(method, re.sub(r"\{\w+\}", "1", path), "viewer")
        assert answered.status_code == 405, path
        assert answered.headers["content-type"] == "application/problem+json"
        assert Problem.model_validate(answered.json()).status == 405
        assert {each.strip() for each in answered.headers["allow"].split(",")} >= has, path
    for path in ("/nothing", "/overview/", "/students/1/nothing"):
        answered = module_world.ask(method, path, "viewer")
        assert answered.headers["content-type"] == "application/problem+json"
        assert answered.json()["status"] == answered.status_code == 404


# --- whose numbers ------------------------------------------------------------------------------------


def test_a_viewer_sees_how_many_and_never_who(world: ApiWorld) -> None:
    with world.site.database.write() as connection:
        known = list(connection.scalars(select(people.c.student_number)))
        found = {"missing": 1, "different": 1}
        left = {"missing": [known[0]], "different": [known[1]]}
        one = Pass(
            target="moodle",
            ended_at=utc(1.0),
            **dict.fromkeys(("seconds", "accounts", "objects", "unmanaged", "unsettled"), 9),
            found=found,
            left=left,
            evidence={known[1]: ("mail",)},
            several=[known[2]],
        )
        passes.keep(connection, world.site.database, one)
    assert known[0] in world.get("/reconciliations", Role.SUPPORT).text
    seen = 0
    for route in ROUTES:
        if route.method == "GET":
            path = re.sub(r"\{\w+\}", known[0], route.path)
            query = "?everything=true&wait=false" if path == "/completions" else ""
            answered = world.get(f"{path}{query}", Role.VIEWER)
            seen += answered.status_code == 200
            if answered.status_code == 200:
                assert not [each for each in known if each in answered.text], route.path
    assert seen > 8
    assert world.get("/reconciliations", Role.VIEWER).json()[0]["found"].items() >= found.items()


# --- holds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["place", "lift"])
def test_a_hold_of_a_number_that_the_registry_does_not_have_is_not_found_unless_asked_for(
    change: str, world: ApiWorld
) -> None:
    body = {"student_number": UNKNOWN, "kind": "suspended", "reason": "vol"}
    answered = world.post(f"/holds/{change}", Role.OPERATOR, json=body)
    assert answered.status_code == 404, answered.text
    assert answered.json()["type"] == "urn:sesame:error:NoSuchStudent"
    waiting = world.post(f"/holds/{change}", Role.OPERATOR, json={**body, "unknown": True})
    assert (waiting.status_code, waiting.json()["known"]) == (200, False)


def test_a_number_in_other_letters_is_another_persons(world: ApiWorld) -> None:
    with world.site.database.read() as connection:
        desk = registry_kit.RegistryHarness(connection.engine.url.render_as_string(hide_password=False))
    with closing(desk.database):
        desk.apply(enrolled("A22600001", birth_name="Martin", given_name="Léa"))
        assert world.get("/students/A22600001").status_code == 200
        for other in ("a22600001", "%EF%BC%A122600001", "A22600001%20"):
            assert world.get(f"/students/{other}").status_code in (404, 422), other
        desk.apply(enrolled("a22600001", birth_name="Durand", given_name="Paul", birth_date=date(2005, 1, 2)))
    numbers = [world.get(f"/students/{n}").json()["student_number"] for n in ("A22600001", "a22600001")]
    assert numbers == ["A22600001", "a22600001"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/dead-letters/dismiss", {}),
        ("/dead-letters/dismiss", {"letters": []}),
        ("/dead-letters/dismiss", {"letters": ["0a1b"], "cause": "internal_error"}),
        ("/dead-letters/dismiss", {"consumer": "moodle"}),
        ("/dead-letters/dismiss", {"until": 2e9}),
        ("/adoption/decide", {"answer": "linked"}),
        ("/adoption/decide", {"answer": "linked", "ids": []}),
        ("/adoption/decide", {"answer": "linked", "ids": ["5be2f1c09a44"], "kind": "mail_differs"}),
        ("/replays", {"consumer": "moodle", "students": [], "lane": "bulk"}),
        ("/replays/select", {"consumer": "moodle"}),
        ("/replays/select", {"consumer": "moodle", "students": [], "everybody": False}),
    ],
)
def test_an_empty_selection_is_refused_and_never_means_everybody(
    path: str, body: dict[str, Any], module_world: ApiWorld
) -> None:
    given = body if path == "/replays/select" else body | {"reason": "a test"}
    refused = module_world.post(path, json=given)
    assert refused.status_code in (409, 422), refused.text
    assert refused.json()["type"].startswith("urn:sesame:error:")


def test_an_empty_beginning_of_an_id_or_an_empty_cause_names_no_dead_letter(module_world: ApiWorld) -> None:
    for asked, status in (({"letters": [""]}, 404), ({"cause": ""}, 200)):
        answered = module_world.post("/dead-letters/dismiss", json={**asked, "reason": "a test"})
        assert answered.status_code == status, answered.text
        assert answered.json().get("found", 0) == 0
