"""The API keeps to its own description, whatever it is asked: by schemathesis, on the filled store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from sesame.testing.servers import stores
from sesame.web.api.routes import ROUTES, Route
from tests.integration.api_kit import HOST, ApiWorld, api_world

EXAMPLES = {"sqlite": 20, "postgresql": 5}
ASKS_TARGETS = {"provision", "reconcile", "replay.preview"}
"""Of whose servers none answers here."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, ApiWorld]]:
    folder = tmp_path_factory.mktemp("api")
    if request.param == "sqlite":
        with api_world(folder, f"sqlite:///{folder / 'store.db'}") as made:
            yield request.param, made
        return
    with stores.empty_database(request.getfixturevalue("postgres")) as url, api_world(folder, url) as made:
        yield request.param, made


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(
    "route",
    [each for each in ROUTES if each.path != "/completions"],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_a_route_answers_as_it_is_described(route: Route, mode: str, fuzzed: tuple[str, ApiWorld]) -> None:
    """Never 500, never a status, form or header that is not declared; what does not fit is refused, and so is
    whoever has no token."""
    import schemathesis  # which takes seconds

    kind, world = fuzzed
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
        max_examples=EXAMPLES[kind],
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def asked(case: Any) -> None:
        assume("\n" not in case.formatted_path)  # such an address is not the API's
        answered = case.call_and_validate(
            base_url=f"{world.url}/v1", headers=headers, excluded_checks=unwanted, timeout=60.0
        )
        assert answered.status_code != 500
        assert answered.status_code != 503 or route.act in ASKS_TARGETS, answered.text

    asked()
