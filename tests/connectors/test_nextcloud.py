"""Nextcloud passes the connectors' suite, on the stand-in of its provisioning API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.nextcloud.connector import NextcloudConnector
from sandbox.nextcloud.cloud import NAME_MAX, Cloud, User
from sandbox.nextcloud.server import serving
from schemas.account import Account
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *


def too_long(account: Account) -> Account:
    """Give a name that Nextcloud finds too long."""
    person = account.person.model_copy(update={"birth_name": "x" * NAME_MAX})
    return account.model_copy(update={"person": person})


@pytest.fixture(scope="module")
def bench() -> Iterator[ConnectorBench]:
    cloud = Cloud()
    cloud.groups.add("sesame")
    cloud.users["sesame"] = User("sesame", groups={"admin"})
    with serving(cloud) as address:
        yield ConnectorBench(
            NextcloudConnector,
            lambda address: {"url": f"http://{address}", "token": "sesame:app-password"},
            address,
            stranger=lambda account: cloud.users.update(
                {account.login.lower(): User(account.login, email=account.mail, displayname="x")}
            ),
            refuse=too_long,
        )
