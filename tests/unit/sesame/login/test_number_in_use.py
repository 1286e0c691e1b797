"""A login by CAS of somebody whose entry shows another student number than the account is kept under."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from sesame.login.login import CasLogins
from sesame.login.port import Validated
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, cancelled, enrolled
from sesame.testing.servers.stores import sqlite_store
from tests.unit.consumers.registry.test_identities import merge

STRANGER = "22009999"


class Releasing:
    """A CAS server that vouches for every ticket, and releases this number."""

    service_url = "https://compte.univ-exemple.fr/cas"

    def __init__(self, login: str, *numbers: str) -> None:
        self._validated = Validated(login, {"supannEtuId": numbers} if numbers else {})

    def login_url(self, *, renew: bool = False) -> str:
        return f"{self.service_url}?renew={renew}"

    def logout_url(self) -> str:
        return self.service_url

    def validate(self, _ticket: str) -> Validated:
        return self._validated

    def logged_out(self, _body: bytes) -> str | None:
        return None


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[RegistryHarness]:
    """Léa, who goes on under her first number and is enrolled under Paul's alone; both were in use."""
    made = RegistryHarness(sqlite_store(tmp_path))
    made.apply(enrolled(LEA))
    made.apply(enrolled(PAUL, 2, birth_date=date(2005, 2, 3)))
    for number in (LEA, PAUL):
        made.apply(activation(number))
    made.apply(merge(PAUL, LEA))
    made.apply(cancelled(LEA, 3))
    yield made
    made.database.close()


@pytest.mark.parametrize(
    ("account", "released", "seen"),
    [
        (LEA, (PAUL,), LEA),
        (LEA, (LEA,), LEA),  # the directory has not been written yet
        (LEA, (STRANGER,), None),
        (LEA, (), LEA),
        (PAUL, (PAUL,), PAUL),
        (PAUL, (), PAUL),
        (PAUL, (STRANGER,), None),
    ],
)
def test_the_page_is_whose_login_it_is_under_either_number(
    desk: RegistryHarness, account: str, released: tuple[str, ...], seen: str | None
) -> None:
    server = Releasing(desk.account(account).login, *released)
    logins = CasLogins(desk.database, server, session_s=60)
    assert logins.arrive("ST-1").student_number == seen
