"""The connector that ends CAS sessions passes the suite on a real Apereo CAS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.apereo.connector import ApereoConnector
from sandbox.apereo import Apereo
from sandbox.apereo.properties import OPERATOR, OPERATOR_PASSWORD
from sandbox.slapd import Slapd
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from sesame.testing.servers.cas_kit import SERVICES, login_server_of


@pytest.fixture(scope="module")
def bench(slapd: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectorBench]:
    folder = tmp_path_factory.mktemp("cas")
    word = folder / "operator"
    word.touch(mode=0o600)
    word.write_text(OPERATOR_PASSWORD, encoding="ascii")
    with login_server_of(slapd, folder, Apereo, SERVICES) as server:
        yield ConnectorBench(
            ApereoConnector,
            lambda address: {
                "url": f"https://{address}/cas/actuator/ssoSessions",
                "ca_file": server.cas.ca_file,
                "username": OPERATOR,
                "password_file": word,
            },
            f"127.0.0.1:{server.cas.port}",
            protocol="tcp",  # what passes is TLS
            leader=lambda _accounts: None,  # who may log in is the directory's: nobody does here
        )
