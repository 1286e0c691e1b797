"""Fixtures of the tests that need no server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.store import migrate
from pipeline.store.database import Database
from tests.unit.store_kit import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database. Every test of the store runs on each kind that is named here."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def database(database_url: str, clock: Clock) -> Iterator[Database]:
    """A database in the form that this version wants, with a clock that is told."""
    database = Database(database_url, clock=clock)
    migrate.upgrade(database)
    yield database
    database.close()
