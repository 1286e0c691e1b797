"""The SCIM connector passes the suite on a real server."""

from collections.abc import Iterator

import pytest

from consumers.scim.connector import Scim
from sandbox.scim import REFUSED, ScimServer
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from tests.integration.scim_kit import Eyes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectorBench]:
    with ScimServer(tmp_path_factory.mktemp("scim")) as server:
        yield ConnectorBench(
            connector=Scim,
            settings=lambda address: {
                "url": server.url.replace(f"127.0.0.1:{server.port}", address),
                "token_file": server.token_file,
                "groups": ("cohorts",),
            },
            address=f"127.0.0.1:{server.port}",
            stranger=lambda account: Eyes(server).make(
                "/Users", userName=account.principal, emails=[{"value": account.mail}]
            ),
            refuse=lambda account: account.model_copy(update={"mail": f"{account.login}{REFUSED}"}),
        )
