"""Koha passes the connectors' suite, on the stand-in of its REST interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.koha.connector import KohaConnector
from sandbox.koha import KohaServer
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *


@pytest.fixture(scope="module")
def koha() -> Iterator[KohaServer]:
    with KohaServer() as server:
        yield server


@pytest.fixture(scope="module")
def token_file(koha: KohaServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("koha") / "token"
    file.write_text(f"{koha.login}\n", encoding="utf-8")
    file.chmod(0o600)
    return file


@pytest.fixture
def bench(koha: KohaServer, token_file: Path) -> ConnectorBench:
    return ConnectorBench(
        KohaConnector,
        lambda address: {
            "url": f"http://{address}/api/v1",
            "token_file": token_file,
            "library": "BU",
            "category": "ETU",
        },
        koha.address,
        stranger=lambda account: koha.library.add(
            surname="Bibliothécaire", userid=account.login, email=account.mail
        ),
        refuse=too_long,
        name="koha",
    )


def too_long(account: Account) -> Account:
    """A login that is longer than its column: Koha answers 500."""
    return account.model_copy(update={"login": account.login + "x" * 80})
