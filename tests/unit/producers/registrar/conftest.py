"""What the tests of the registrar's files share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.producers.registrar.registrar_kit import Registrar


@pytest.fixture
def registrar(tmp_path: Path) -> Iterator[Registrar]:
    """Exports, and imports into a store of the test's own, on SQLite."""
    with closing(Registrar(tmp_path)) as registrar:
        yield registrar
