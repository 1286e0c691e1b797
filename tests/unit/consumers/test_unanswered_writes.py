"""A write that nobody answered may still land after its call. Whatever else the call reaches, the student's
outcome is unknown then: the lease is kept until the write can have no effect any more, and what is there is
compared before anything else is written."""

from __future__ import annotations

import smtplib
from typing import Any

import httpx
import pytest
from ldap3.core.exceptions import LDAPSocketReceiveError

from pipeline.errors import TargetDown
from pipeline.target import Done, Retry, Task
from schemas.account import Account, Hold
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.ldap_kit import Asked as LdapAsked
from sesame.testing.servers.ldap_kit import directory_on, tree_of
from sesame.testing.servers.mail_kit import Asked, desk_of
from sesame.testing.servers.narrowing import expect

NUMBER = "22601234"
MAIL = "hugo.roux@univ-exemple.fr"


def account(**fields: Any) -> Account:
    return account_of(NUMBER, "hugo.roux", version=2, mail=MAIL, principal=MAIL, **fields)


SHUT = Task(account(holds=frozenset({Hold.SUSPENDED})))


def test_a_closing_of_the_directory_that_nobody_answered_is_not_over_when_the_rest_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree, handler = tree_of(monkeypatch), directory_on().handler()
    assert isinstance(handler.handle([Task(account())])[NUMBER], Done)

    def lost(asked: LdapAsked) -> None:
        if asked.verb == "modify" and "pwdAccountLockedTime" in asked.what:
            raise LDAPSocketReceiveError("closed")

    tree.before = lost
    assert expect(Retry, handler.handle([SHUT])[NUMBER]).unknown


def test_a_delivery_that_nobody_answered_stays_unknown_when_the_mail_server_goes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = desk_of(monkeypatch)
    desk.enable(account())

    def lost(command: str) -> None:
        if command == "SAVED":
            desk.server.bends = away
            raise smtplib.SMTPServerDisconnected("gone")

    def away(_asked: Asked, _answer: Any) -> Any:
        raise httpx.ConnectError("connection refused")

    desk.server.lmtp = lost
    with pytest.raises(TargetDown) as down:
        desk.handle(account())
    assert down.value.unknown
