"""Partage passes the connectors' suite, on the stand-in of BSS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.partage.connector import PartageConnector
from sandbox.partage import Partage
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *


@pytest.fixture(scope="module")
def partage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partage]:
    with Partage(tmp_path_factory.mktemp("partage")) as server:
        yield server


@pytest.fixture
def bench(partage: Partage) -> ConnectorBench:
    return ConnectorBench(
        PartageConnector,
        lambda address: {
            "url": f"http://{address}/service/domain",
            "domain": partage.domain,
            "key_file": partage.key_file,
        },
        f"127.0.0.1:{partage.port}",
        stranger=lambda account: partage.give(account.mail),
        refuse=lambda account: account.model_copy(update={"mail": f"{account.login}@ailleurs.fr"}),
        domain=partage.domain,
    )
