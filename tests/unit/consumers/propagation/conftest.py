"""What the tests of the propagation share."""

from __future__ import annotations

import pytest

from pipeline.db.database import Database
from sesame.testing.servers.database_kit import Clock
from tests.unit.consumers.propagation.propagation_kit import Desk


@pytest.fixture
def desk(database: Database, clock: Clock) -> Desk:
    """A propagation that follows nobody yet."""
    return Desk(database, clock)
