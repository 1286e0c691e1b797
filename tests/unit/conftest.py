"""Fixtures of the tests that need no server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.store.database import Database
from tests.unit.store_kit import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(store_url: str, clock: Clock) -> Iterator[Database]:
    """A database in the form that this version wants, with a clock that is told."""
    database = Database(store_url, clock=clock)
    yield database
    database.close()
