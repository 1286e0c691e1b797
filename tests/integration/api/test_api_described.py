"""The API keeps to its own description, whatever it is asked: by schemathesis, on the filled store."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from sesame.web.api.routes import ROUTES, Route
from tests.integration.api.api_kit import HOST, ApiWorld

EXAMPLES = {True: 10, False: 3}
"""On SQLite, on PostgreSQL."""
ASKS_TARGETS = {"adopt.show", "provision", "reconcile", "replay.preview"}
"""Of whose servers none answers here."""


STATES = settings(
    max_examples=12,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LED_TO = {
    "GET /dead-letters/{letter}",
    "GET /replays/{replay_id}",
    "GET /identities/{student_number}",
    "GET /imports/{import_id}",
    "GET /adoption/questions/{question_id}",
    "GET /students/{student_number}",
    "GET /students/{student_number}/diagnosis",
    "GET /students/{student_number}/record",
    "GET /students/{student_number}/timeline",
}
"""To each of these a link of another answer leads."""


def test_a_link_names_a_value_that_is_described_and_an_operation_that_takes_it(
    module_world: ApiWorld,
) -> None:
    described = module_world.client.get("/v1/openapi.json").json()
    operations = {
        each["operationId"]: (path, each)
        for path, all_ in described["paths"].items()
        for each in all_.values()
    }
    count = 0

    def resolved(schema: Any) -> Any:
        while "$ref" in schema:
            schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    for _, operation in operations.values():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                [(parameter, place)] = link["parameters"].items()
                schema = resolved(answer["content"]["application/json"]["schema"])
                for part in place.removeprefix("$response.body#/").split("/"):
                    schema = resolved(schema["items"] if part.isdigit() else schema["properties"][part])
                assert schema["type"] in {"string", "integer"}
                assert f"{{{parameter}}}" in operations[link["operationId"]][0]
                count += 1
    assert count > 5


def test_what_an_answer_names_is_there(module_world: ApiWorld) -> None:
    described = module_world.client.get("/v1/openapi.json").json()
    operations = {
        each["operationId"]: (method, path, each)
        for path, all_ in described["paths"].items()
        for method, each in all_.items()
    }
    followed = set()
    for method, path, operation in operations.values():
        links = [
            link for answer in operation["responses"].values() for link in answer.get("links", {}).values()
        ]
        if method != "get" or not links:
            continue
        said = module_world.get(path).json() if "{" not in path else {}
        for link in links:
            [(parameter, place)] = link["parameters"].items()
            value = said
            for part in place.removeprefix("$response.body#/").split("/"):
                value = value[int(part) if isinstance(value, list) else part] if value else None
            other, way, _ = operations[link["operationId"]]
            if value is not None and other == "get":
                found = module_world.get(way.format_map({parameter: value}))
                assert found.status_code == 200, way
                followed.add(f"GET {way}")
    assert followed == LED_TO


def test_one_answer_leads_to_the_next_request_as_it_is_described(module_world: ApiWorld) -> None:
    """In whatever order: each answer is as it is described, and what one names the next one has."""
    import schemathesis

    world = module_world
    schema = schemathesis.openapi.from_dict(world.client.get("/v1/openapi.json").json())
    schema.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])
    headers = {"Authorization": f"Bearer {world.token('administrator')}", "Host": HOST}
    asking = {"base_url": f"{world.url}/v1", "headers": headers, "timeout": 60.0}

    class Asked(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return asking

        def validate_response(self, response: Any, case: Any, **_more: Any) -> None:
            unwanted = [
                schemathesis.checks.positive_data_acceptance,
                schemathesis.checks.not_a_server_error,
            ]
            case.validate_response(
                response, headers=headers, transport_kwargs=asking, excluded_checks=unwanted
            )
            assert response.status_code != 500

    Asked.run(settings=STATES)


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(
    "route",
    [each for each in ROUTES if each.path != "/completions"],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_a_route_answers_as_it_is_described(route: Route, mode: str, module_world: ApiWorld) -> None:
    """Never 500, never a status, form or header that is not declared; what does not fit is refused, and so is
    whoever has no token."""
    import schemathesis  # which takes seconds

    world = module_world
    schema = schemathesis.openapi.from_dict(world.client.get("/v1/openapi.json").json())
    operation: Any = schema[route.path][route.method]
    strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    headers = {"Authorization": f"Bearer {world.token('administrator')}", "Host": HOST}
    unwanted: Any = [
        # what the store has, and how targets are, no schema says: 404, 409, 422 and 503 are answers
        schemathesis.checks.positive_data_acceptance,
        schemathesis.checks.not_a_server_error,
    ]

    @settings(
        max_examples=EXAMPLES[world.site.database.is_sqlite],
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def asked(case: Any) -> None:
        assume("\n" not in unquote(case.formatted_path))  # such an address is not the API's
        assume(all(value not in ([], {}) for value in (case.query or {}).values()))  # nothing is sent of it
        key = str((case.headers or {}).get("Idempotency-Key", ""))
        assume(key == key.strip(" \t"))  # blanks around a header's value are no part of it (RFC 9110, 5.5)
        answered = case.call_and_validate(
            base_url=f"{world.url}/v1", headers=headers, excluded_checks=unwanted, timeout=60.0
        )
        assert answered.status_code != 500
        assert answered.status_code != 503 or route.act in ASKS_TARGETS, answered.text

    asked()
