"""A running stand-in for the tests that put it into trouble."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.moodle import MoodleStandIn
from tests.contract.sending import Client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoodleStandIn]:
    with MoodleStandIn(tmp_path_factory.mktemp("moodle")) as moodle:
        yield moodle


@pytest.fixture
def moodle(site: MoodleStandIn) -> Iterator[MoodleStandIn]:
    """The module's site, put back to its first state after the test; its data stays."""
    yield site
    site.reset()


@pytest.fixture
def client(moodle: MoodleStandIn) -> Iterator[Client]:
    connection = Client(moodle.endpoint, moodle.token)
    yield connection
    connection.close()
