"""Fixtures of the tests that need no server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.db.database import Database
from tests.unit.pipeline_kit import Plant, Target
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


@pytest.fixture
def plant(tmp_path: Path, store_url: str, clock: Clock) -> Iterator[Plant]:
    """A worker's parts, with a clock that is told."""
    plant = Plant(tmp_path, store_url, clock=clock)
    yield plant
    plant.close()


@pytest.fixture
def mailbox(tmp_path: Path, store_url: str, clock: Clock) -> Iterator[Plant]:
    """The same for a target that follows the directory."""
    plant = Plant(tmp_path, store_url, Target("mailbox"), follows="directory", clock=clock)
    yield plant
    plant.close()
