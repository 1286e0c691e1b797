"""Koha passes the connectors' suite, on the stand-in of its REST interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from consumers.kit.connector import Changes, TargetObject
from consumers.koha.connector import KohaConnector
from sandbox.koha import KohaServer
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.checks import CHECKS
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


def test_a_cursor_that_tells_nothing_is_named(bench: ConnectorBench) -> None:
    nothing: Changes[TargetObject] = Changes("2026-09-01 1")
    silent = patch.object(KohaConnector, "changes_since", lambda *_: nothing)
    with silent, pytest.raises(AssertionError, match="a foreign object is not told"):
        CHECKS["what_others_change_is_told_since_a_mark"](bench)


def too_long(account: Account) -> Account:
    """A login that is longer than its column: Koha answers 500."""
    return account.model_copy(update={"login": account.login + "x" * 80})
