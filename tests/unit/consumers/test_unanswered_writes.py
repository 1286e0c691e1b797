"""A write that nobody answered may still land after its call. Whatever else the call reaches, the student's
outcome is unknown then: the lease is kept until the write can have no effect any more, and what is there is
compared before anything else is written."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from consumers.directory.port import EntryUnsettled, Observed
from pipeline.errors import TargetDown
from pipeline.target import Done, Retry, Task
from schemas.account import Account, Hold, Person, Stage
from sesame.testing.servers.directory_kit import handler_over
from tests.unit.consumers.directory.directory_kit import InMemory
from tests.unit.consumers.mailbox.mail_kit import Asked, desk_of

NUMBER = "22601234"
MAIL = "hugo.roux@univ-exemple.fr"


def account(**fields: Any) -> Account:
    return Account(
        student_number=NUMBER,
        version=2,
        stage=Stage.ACTIVE,
        login="hugo.roux",
        mail=MAIL,
        principal=MAIL,
        person=Person(birth_name="Roux", given_name="Hugo"),
        **fields,
    )


SHUT = Task(account(holds=frozenset({Hold.SUSPENDED})))


class Directory(InMemory):
    """Closes without an answer; all else is well."""

    def close(self, observed: Observed) -> Mapping[str, EntryUnsettled]:
        super().close(observed)
        return {number: EntryUnsettled("outcome_unknown", "no answer", unknown=True) for number in observed}


def test_a_closing_of_the_directory_that_nobody_answered_is_not_over_when_the_rest_succeeds() -> None:
    handler = handler_over(Directory())
    assert isinstance(handler.handle([Task(account())])[NUMBER], Done)
    outcome = handler.handle([SHUT])[NUMBER]
    assert isinstance(outcome, Retry)
    assert outcome.unknown


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
