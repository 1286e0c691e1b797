"""What the tests of acceptance share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sesame.testing.servers.processes import ManySite


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[ManySite]:
    """A site of several processes, on each kind of database that the file asks for."""
    with closing(ManySite(tmp_path, store_url)) as site:
        yield site
