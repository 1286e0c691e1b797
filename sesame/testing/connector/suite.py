"""The suite as tests. `from sesame.testing.connector.suite import *`, next to a fixture `bench`.

`PROVEN=record` writes the record of a run on the real product: see `levels`.
"""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from consumers.kit.connector import Anything
from sesame.testing.connector import levels
from sesame.testing.connector.bench import ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS

__all__ = ["test_a_connector", "test_the_declared_level_is_reached"]

_OUTCOMES: dict[type[Anything], levels.Outcomes] = {}


@pytest.mark.parametrize("name", CHECKS)
def test_a_connector(bench: ConnectorBench, name: str) -> None:
    try:
        levels.run(bench, name, _OUTCOMES.setdefault(bench.connector, {}))
    except Skipped as reason:
        pytest.skip(str(reason))


def test_the_declared_level_is_reached(bench: ConnectorBench) -> None:
    outcomes = _OUTCOMES.setdefault(bench.connector, {})
    for name in CHECKS.keys() - outcomes.keys():
        with suppress(Exception):  # it is in the outcomes
            levels.run(bench, name, outcomes)
    if os.environ.get("PROVEN") == "record":
        levels.record(bench, outcomes)
    if bench.connector.level is None:
        pytest.skip("the connector declares no level")
    assert levels.obstacles(bench.connector, bench.connector.level, outcomes) == []
