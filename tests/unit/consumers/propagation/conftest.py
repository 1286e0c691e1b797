"""What the tests of the propagation share."""

from __future__ import annotations

import pytest

from pipeline.db.database import Database
from tests.unit.consumers.propagation.propagation_kit import Desk
from tests.unit.database_kit import Clock


@pytest.fixture
def desk(database: Database, clock: Clock) -> Desk:
    """A propagation that follows nobody yet."""
    return Desk(database, clock)
