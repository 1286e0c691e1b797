"""What the tests of the propagation share."""

from __future__ import annotations

import pytest

from pipeline.db.database import Database
from sesame.testing.servers.database_kit import Clock
from tests.unit.consumers.propagation.propagation_kit import PropagationHarness


@pytest.fixture
def desk(database: Database, clock: Clock) -> PropagationHarness:
    """A propagation that follows nobody yet."""
    return PropagationHarness(database, clock)
