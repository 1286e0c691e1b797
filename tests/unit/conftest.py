"""Fixtures of the tests that need no server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.db.database import Database
from pipeline.eventlog.port import Producer
from pipeline.eventlog.sqlite import SqliteEventLog
from schemas import catalogue
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.pipeline_kit import Plant, live_mailbox, live_plant
from sesame.testing.servers.target_kit import Target

__all__ = ["live_mailbox", "live_plant"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(store_url: str, clock: Clock) -> Iterator[Database]:
    """A database in the form that this version wants, with a clock that is told."""
    with closing(Database(store_url, clock=clock)) as database:
        yield database


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    """An embedded log with every topic."""
    with closing(SqliteEventLog(tmp_path / "log.db")) as log:
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 1))
        yield log


@pytest.fixture
def producer(log: SqliteEventLog) -> Iterator[Producer]:
    with closing(log.producer()) as producer:
        yield producer


@pytest.fixture
def plant(tmp_path: Path, store_url: str, clock: Clock) -> Iterator[Plant]:
    """A worker's parts, with a clock that is told."""
    with closing(Plant(tmp_path, store_url, clock=clock)) as plant:
        yield plant


@pytest.fixture
def mailbox(tmp_path: Path, store_url: str, clock: Clock) -> Iterator[Plant]:
    """The same for a target that follows the directory."""
    with closing(Plant(tmp_path, store_url, Target("mailbox"), follows="directory", clock=clock)) as plant:
        yield plant
