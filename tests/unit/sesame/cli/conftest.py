"""What tests of commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sesame.app.wiring import build
from sesame.settings import load
from sesame.testing.servers.registry_kit import RegistryHarness


@pytest.fixture
def desk(command_folder: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryHarness]:
    """A registry on the very store that the commands use."""
    monkeypatch.setenv("SESAME_STORE__URL", store_url)
    with closing(build(load(None))) as app:
        app.log.close()
    desk = RegistryHarness(store_url)
    with closing(desk.database):
        yield desk
