"""The event log's suite on the adapters here: each test runs once per adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sesame.testing.eventlog.adapter import Adapter
from sesame.testing.eventlog.fixtures import join, log, new_topic, producer
from tests.conformance.adapters import ADAPTERS

__all__ = ["join", "log", "new_topic", "producer"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs on each adapter; those that need another process, on each that processes can share."""
    if "adapter" in metafunc.fixturenames:
        alone = {"simulated"} if metafunc.definition.get_closest_marker("processes") else set()
        metafunc.parametrize("adapter", sorted(ADAPTERS.keys() - alone), indirect=True)


@pytest.fixture
def adapter(request: pytest.FixtureRequest) -> Iterator[Adapter]:
    ready = ADAPTERS[request.param](request)
    yield ready
    ready.stop()
