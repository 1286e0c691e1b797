"""Moodle passes the connectors' suite, on the stand-in that answers as the recorded site did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.kit.connector import SiteFacts
from consumers.moodle.connector import MoodleConnector
from pipeline.db.database import Database
from sandbox.moodle import MoodleStandIn
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *
from sesame.testing.servers.moodle_kit import Operator
from sesame.testing.servers.stores import sqlite_store


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoodleStandIn]:
    with MoodleStandIn(tmp_path_factory.mktemp("moodle")) as server:
        yield server


def refused(account: Account) -> Account:
    """Somebody whose mail address Moodle alone can refuse: PHP's filter takes no two dots in a row."""
    return account.model_copy(update={"mail": account.mail.replace("@", "..@")})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(sqlite_store(tmp_path_factory.mktemp("store")))
    yield database
    database.close()


@pytest.fixture
def bench(site: MoodleStandIn, database: Database) -> ConnectorBench:
    return ConnectorBench(
        MoodleConnector,
        lambda address: {
            "base_url": f"http://{address}",
            "token": site.token,
            "read_timeout_s": 1.5,
            "read_attempts": 2,
            "retry_wait_s_max": 0.01,
        },
        site.url.removeprefix("http://"),
        stranger=lambda account: Operator(site).create_user(account.login),
        refuse=refused,
        site=SiteFacts(database=database),
    )
