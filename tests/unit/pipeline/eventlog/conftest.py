"""What the tests of the embedded log share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The log's file: a name that is not ASCII, with a blank."""
    return tmp_path / "log é.db"
