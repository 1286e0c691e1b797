"""What the tests of the registry share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from sesame.testing.servers.registry_kit import RegistryHarness


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    """A registry that knows nobody yet."""
    desk = RegistryHarness(store_url)
    with closing(desk.database):
        yield desk
