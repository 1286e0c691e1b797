"""The connector that ends CAS sessions passes the suite on a real Apereo CAS."""

from __future__ import annotations

import pytest

from consumers.apereo.connector import ApereoConnector
from sandbox.apereo.properties import OPERATOR, OPERATOR_PASSWORD
from sandbox.apereo.war import CAS_VERSION
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from sesame.testing.servers.cas_kit import LoginServer


@pytest.fixture(scope="module")
def bench(apereo: LoginServer, tmp_path_factory: pytest.TempPathFactory) -> ConnectorBench:
    word = tmp_path_factory.mktemp("cas") / "operator"
    word.touch(mode=0o600)
    word.write_text(f"{OPERATOR}:{OPERATOR_PASSWORD}", encoding="ascii")
    return ConnectorBench(
        ApereoConnector,
        lambda address: {
            "url": f"https://{address}/cas/actuator/ssoSessions",
            "ca_file": apereo.cas.ca_file,
            "token_file": word,
        },
        f"127.0.0.1:{apereo.cas.port}",
        protocol="tcp",  # what passes is TLS
        product=f"Apereo CAS {CAS_VERSION}",
        leader=lambda _accounts: None,  # who may log in is the directory's: nobody does here
    )
