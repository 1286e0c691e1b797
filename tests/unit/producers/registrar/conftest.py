"""What the tests of the registrar's files share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sesame.testing.servers.registrar_kit import Registrar


@pytest.fixture
def registrar(tmp_path: Path) -> Iterator[Registrar]:
    """Exports, and imports into a store of the test's own, on SQLite."""
    with closing(Registrar(tmp_path)) as registrar:
        yield registrar


@pytest.fixture
def stored_registrar(tmp_path: Path, store_url: str) -> Iterator[Registrar]:
    """The same on each kind of database."""
    with closing(Registrar(tmp_path, store_url)) as registrar:
        yield registrar
