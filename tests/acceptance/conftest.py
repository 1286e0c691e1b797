"""What the tests of acceptance share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.demo import machine
from sandbox.process import MissingServer
from sesame.testing.servers import require_service
from sesame.testing.servers.processes import ManySite


@pytest.fixture(scope="session")
def demo_machine() -> None:
    """Skip, or fail in CI, where the demo's servers are not installed."""

    def check() -> None:
        try:
            machine.check()
        except machine.MachineUnfit as unfit:
            raise MissingServer(str(unfit), "") from unfit

    require_service(check)


@pytest.fixture
def site(tmp_path: Path, store_url: str) -> Iterator[ManySite]:
    """A site of several processes, on each kind of database that the file asks for."""
    with closing(ManySite(tmp_path, store_url)) as site:
        yield site
