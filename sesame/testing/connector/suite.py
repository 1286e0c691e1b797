"""The suite as tests. `from sesame.testing.connector.suite import *`, next to a fixture `bench`."""

from __future__ import annotations

import pytest

from sesame.testing.connector.bench import ConnectorBench, Skipped
from sesame.testing.connector.checks import CHECKS

__all__ = ["test_a_connector"]


@pytest.mark.parametrize("name", CHECKS)
def test_a_connector(bench: ConnectorBench, name: str) -> None:
    try:
        CHECKS[name](bench)
    except Skipped as reason:
        pytest.skip(str(reason))
