"""A write that nobody answered may still land after its call. Whatever else the call reaches, the student's
outcome is unknown then: the lease is kept until the write can have no effect any more, and what is there is
compared before anything else is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from consumers.directory.port import EntryUnsettled, Observed
from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.mailbox import port as mailbox
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.port import ObservedMailbox
from consumers.mailbox.settings import MailboxSettings
from consumers.mailbox.welcome import Welcome
from pipeline.errors import TargetDown
from pipeline.target import Done, Retry, Task
from schemas.account import Account, Hold, Person, Stage
from sesame.testing.servers.directory_kit import handler_over
from tests.unit.consumers.directory.directory_kit import InMemory
from tests.unit.consumers.mailbox.mail_kit import Journal, no_secret

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


class Mailboxes:
    """Delivers without an answer, and goes away before it can be read back."""

    away = False

    def read(self, keys: Sequence[mailbox.Key], _deadline: Deadline) -> Mapping[str, ObservedMailbox]:
        if self.away:
            raise TargetDown("connection refused", unknown=False)
        seen = ObservedMailbox(MAIL, frozenset(), frozenset(), None, 1, 1, None, False, False)
        return {key.address: seen for key in keys}

    def probe(self) -> None:
        if self.away:
            raise TargetDown("connection refused", unknown=False)

    def apply(
        self, batch: Sequence[mailbox.MailboxChange], _deadline: Deadline
    ) -> Mapping[str, mailbox.MailboxUnsettled]:
        self.away = True
        lost = mailbox.MailboxUnsettled("delivery_unknown", "no answer", unknown=True)
        return {change.address: lost for change in batch}


class Short(Welcome):
    def render(self, account: Account) -> bytes:
        return b""


def test_a_delivery_that_nobody_answered_stays_unknown_when_the_mail_server_goes_away() -> None:
    welcome = Short("sesame@univ-exemple.fr", "", "", lambda: datetime.now(UTC))
    context = ConnectorContext("mailbox", MailboxSettings(folders=("Sent",)), no_secret)
    connector = MailboxConnector(context, Mailboxes(), Journal(), welcome)  # type: ignore[arg-type]  # as above
    with pytest.raises(TargetDown) as down:
        connector.handler().handle([Task(account())])
    assert down.value.unknown
