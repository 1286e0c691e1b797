"""Every parameter and every field of every request at its bounds: answered or refused, never 500, on both
databases; and what was taken can be read."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from sesame.web.api.routes import ROUTES, Route
from tests.integration.api.api_kit import COMPLETED, ApiWorld
from tests.integration.api.scim_in_kit import registry_running, user

ASKS_TARGETS = {"adopt.show", "provision", "reconcile", "replay.preview", "targets.probe"}
"""Of whose servers none answers here."""

LONE = "\ud800"
TEXTS = ["", "x" * 64, "x" * 256, "x" * 5_000, "a\0", "é𝔖", LONE, "1", "../x"]
NUMBERS = [-1, 0, 2**31, 2**53, 2**63, 10**20, 10**400, 1.5]
DAYS = ["0001-01-01", "9999-12-31", "2026-02-29"]
OTHERS: list[Any] = [None, True, [], {}, [LONE], {"x": LONE}]


def at_bounds(good: Any) -> list[Any]:
    """What stands in the place of a value: the bounds of its kind, and of another one."""
    if isinstance(good, bool) or good is None:
        return [*OTHERS, LONE, 10**20]
    if isinstance(good, int | float):
        return [*NUMBERS, *OTHERS, LONE]
    if isinstance(good, str):
        return [*TEXTS, *(DAYS if good[4:5] == "-" else ()), *OTHERS, 10**20]
    return [*OTHERS, LONE, 10**20]


def sample(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value that fits a schema."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for way in ("anyOf", "oneOf"):
        if way in schema:
            return sample(schema[way][0], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            named = schema.get("properties", {})
            return {name: sample(each, schemas) for name, each in named.items()}
        case "array":
            return [sample(schema["items"], schemas)] if "items" in schema else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
    return {"date": "2026-08-31", "date-time": "2026-08-31T00:00:00Z"}.get(
        schema.get("format", ""), COMPLETED
    )


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a body, itself first."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield from places(each, (*at, name))


def with_one(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    """The body, with another value in one place."""
    if not at:
        return value
    made = copy.deepcopy(body)
    inner = made
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return made


def standing(body: Any, at: tuple[Any, ...]) -> Any:
    """What stands in a place of a body."""
    for step in at:
        body = body[step]
    return body


def sent(body: Any) -> bytes:
    return json.dumps(body).encode()


def in_address(value: Any) -> str:
    """As an address has it: what is no Unicode, by its bytes."""
    return quote(str(value).encode("utf-8", "surrogatepass"), safe="")


@pytest.mark.parametrize(
    "route",
    [each for each in ROUTES if each.path != "/completions"],  # a stream, which has tests of its own
    ids=lambda route: f"{route.method} {route.path}",
)
def test_a_route_answers_or_refuses_whatever_stands_at_a_parameter(
    route: Route, module_world: ApiWorld
) -> None:
    document = module_world.client.get("/v1/openapi.json").json()
    schemas = document["components"]["schemas"]
    operation = document["paths"][route.path][route.method.lower()]
    allowed = (503,) if route.act in ASKS_TARGETS else ()
    wrong = []
    for path, body, headers in asked(route, operation, schemas):
        content: dict[str, Any] = {"content": sent(body)} if route.method == "POST" else {}
        kind = {"Content-Type": "application/json"} if content else {}
        answered = module_world.ask(route.method, path, headers=kind | headers, **content)
        if answered.status_code >= 500 and answered.status_code not in allowed:
            wrong.append((answered.status_code, path[:100], str(body)[:200], headers))
    assert not wrong, (len(wrong), wrong[:8])


def asked(
    route: Route, operation: dict[str, Any], schemas: dict[str, Any]
) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Every request that has one parameter, or one place of its body, at a bound."""
    described = operation.get("parameters", [])
    in_path = {each["name"]: sample(each["schema"], schemas) for each in described if each["in"] == "path"}
    content = operation.get("requestBody", {}).get("content", {})
    good = sample(content["application/json"]["schema"], schemas) if content else None
    plain = route.path.format_map(in_path)
    for each in described:
        for value in at_bounds(sample(each["schema"], schemas)):
            if each["in"] == "path":
                yield route.path.format_map(in_path | {each["name"]: in_address(value)}), good, {}
            elif each["in"] == "query":
                yield f"{plain}?{each['name']}={in_address(value)}", good, {}
            elif str(value).isascii() and "\0" not in str(value):
                yield plain, good, {each["name"]: str(value)}
    for at in places(good) if content else ():
        for value in at_bounds(standing(good, at)):
            yield plain, with_one(good, at, value), {}


# --- SCIM ---------------------------------------------------------------------------------------------

SEARCH = {"startIndex": 1, "count": 1, "cursor": "", "sortBy": "userName", "sortOrder": "ascending"}
SEARCH |= {"filter": 'userName eq "a"', "attributes": "userName", "excludedAttributes": "emails"}


def test_a_scim_search_answers_or_refuses_whatever_stands_at_a_parameter(module_world: ApiWorld) -> None:
    wrong: list[Any] = []
    for name, good in SEARCH.items():
        for value in at_bounds(good):
            asked = f"/scim/v2/Users?{name}={in_address(value)}"
            for one in (asked, asked.replace("Users", "Groups")):
                status = module_world.get(one).status_code
                wrong += [(status, one[:100])] if status >= 500 and status != 501 else []
            body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], name: value}
            status = module_world.post("/scim/v2/.search", content=sent(body)).status_code
            wrong += [(status, name, str(value)[:60])] if status >= 500 and status != 501 else []
    for value in (json.dumps(text) for text in TEXTS):
        for attribute in ("id", "userName", "externalId", "emails.value", "displayName", "members.value"):
            wanted = f"{attribute} eq {value}"
            for one in ("Users", "Groups"):
                status = module_world.get(f"/scim/v2/{one}", params={"filter": wanted}).status_code
                wrong += [(status, one, wanted[:60])] if status >= 500 else []
    assert not wrong, (len(wrong), wrong[:8])


def test_a_person_or_group_at_its_bounds_is_refused_or_can_be_read(module_world: ApiWorld) -> None:
    wrong: list[Any] = []
    group = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "B1",
        "externalId": "b",
        "members": [{"value": COMPLETED}],
    }
    with registry_running(module_world.site):
        for kind, body in (
            ("Users", user("22900001", family="Borne", usageName="Bord", ine="1")),
            ("Groups", group),
        ):
            for at in places(body):
                for value in at_bounds(standing(body, at)):
                    changed = with_one(body, at, value)
                    if isinstance(value, str) and at[-1:] == ("displayName",) and len(value) < 3:
                        continue  # another group
                    _send(module_world, wrong, kind, changed)
    assert not wrong, (len(wrong), wrong[:8])


def _send(world: ApiWorld, wrong: list[Any], kind: str, body: Any) -> None:
    answered = world.post(f"/scim/v2/{kind}", content=sent(body))
    if answered.status_code >= 500:
        wrong.append((answered.status_code, sent(body)[:300]))
    if answered.status_code == 201:
        made = answered.json()["id"]
        for method, ends in (("GET", 200), ("DELETE", 204)):
            status = world.ask(method, f"/scim/v2/{kind}/{made}").status_code
            wrong += [(method, status, sent(body)[:300])] if status != ends else []
