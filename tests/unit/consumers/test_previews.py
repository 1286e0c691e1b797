"""What a replay would change in each target, from what was read there and without a write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from consumers.kit.connector import ConnectorContext, SiteFacts
from consumers.kit.deadline import Deadline
from consumers.mailbox.connector import MailboxConnector
from consumers.mailbox.port import Key, MailboxUnsettled, ObservedMailbox, ReadResult, Unknown
from consumers.mailbox.settings import MailboxSettings
from pipeline.target import Preview, Task
from schemas.account import Account, Hold
from sesame.testing.servers.directory_kit import handler_over
from tests.unit.consumers.directory.directory_kit import InMemory, account
from tests.unit.consumers.mailbox.mail_kit import Intention, Journal, no_secret

SEEN = ObservedMailbox(
    address="hugo.roux1@univ-exemple.fr",
    folders=frozenset({"INBOX", "Scolarite"}),
    subscribed=frozenset({"INBOX", "Scolarite"}),
    quota_kib=1,
    uidvalidity=1,
    uidnext=2,
    redirect_script=None,
    redirect_active=False,
    own_script_active=False,
)


# --- directory ------------------------------------------------------------------------------------


@pytest.fixture
def directory() -> InMemory:
    return InMemory()


def in_directory(directory: InMemory, wanted: Account) -> Preview:
    return handler_over(directory).preview([wanted])[wanted.student_number]


def write(directory: InMemory, wanted: Account) -> None:
    handler_over(directory).handle([Task(wanted)])


def test_an_entry_that_is_missing_would_be_made_and_one_as_it_should_be_left(directory: InMemory) -> None:
    assert in_directory(directory, account("1")).differs[0] == "object"
    write(directory, account("1"))
    assert in_directory(directory, account("1")) == Preview()


def test_what_somebody_changed_by_hand_is_named_and_nothing_is_written(directory: InMemory) -> None:
    write(directory, account("1"))
    directory.entries["1"] = replace(directory.entries["1"], attributes={}, locked=True)
    directory.calls.clear()
    differs = in_directory(directory, account("1")).differs
    assert {"sn", "mail", "access"} <= set(differs)
    assert {verb for verb, _ in directory.calls} == {"within", "read"}


def test_an_entry_that_a_newer_version_wrote_would_not_be_taken_back(directory: InMemory) -> None:
    write(directory, account("1", version=3))
    assert in_directory(directory, account("1", version=2)).obstacle == "superseded"


# --- mailbox --------------------------------------------------------------------------------------


@dataclass
class Shown:
    """A mail server that shows one thing."""

    seen: ReadResult

    def read(self, keys: Sequence[Key], _deadline: Deadline) -> Mapping[str, ReadResult]:
        return {key.address: self.seen for key in keys}


def in_mailbox(wanted: Account, seen: ReadResult, *, welcome: bool = False) -> Preview:
    journal = Journal()
    if not welcome:
        journal.kept["1"] = Intention("<1@x>", 1, 1, "sent")
    settings = MailboxSettings(folders=("Scolarite",))
    context = ConnectorContext("mailbox", settings, no_secret, site=SiteFacts(mail_quota_bytes=1024))
    connector = MailboxConnector(context, Shown(seen), journal)  # type: ignore[arg-type]  # it is only read
    return connector.handler().preview([wanted])["1"]


def mailbox_of(**changes: Any) -> ObservedMailbox:
    return replace(SEEN, **changes)


@pytest.mark.parametrize(
    ("seen", "welcome", "expected"),
    [
        (SEEN, False, Preview()),
        (mailbox_of(subscribed=frozenset({"INBOX"})), False, Preview(("folders",))),
        (mailbox_of(quota_kib=None), False, Preview(("quota",), "read_back_differs")),
        (mailbox_of(uidnext=1, used_kib=1), True, Preview(("welcome",), "mailbox_full")),
        (mailbox_of(subscribed=frozenset(), used_kib=1), False, Preview(("folders",), "mailbox_full")),
        (mailbox_of(redirect_script="keep;", used_kib=1), False, Preview(("redirect",))),
        (mailbox_of(used_kib=1), False, Preview()),
        (mailbox_of(redirect_script="keep;"), False, Preview(("redirect",))),
        (mailbox_of(uidnext=1), True, Preview(("welcome",))),
        (mailbox_of(uidnext=1), False, Preview()),
        (Unknown(), False, Preview(obstacle="mailbox_not_enabled")),
        (MailboxUnsettled("mailbox_busy", "a lock"), False, Preview(obstacle="mailbox_busy")),
    ],
)
def test_a_mailbox_is_compared_by_what_the_pipeline_owns(seen: Any, welcome: bool, expected: Preview) -> None:
    assert in_mailbox(account("1"), seen, welcome=welcome) == expected


def test_a_mailbox_of_a_shut_account_is_as_it_should_be_when_the_server_does_not_know_it() -> None:
    shut = account("1", holds=(Hold.SUSPENDED,))
    assert in_mailbox(shut, Unknown()) == Preview()
    assert in_mailbox(shut, SEEN) == Preview(obstacle="directory_behind")


def test_a_redirection_that_a_students_own_script_hides_would_wait() -> None:
    redirected = account("1", mail_redirect="hugo@exemple.org")
    seen = mailbox_of(own_script_active=True)
    assert in_mailbox(redirected, seen) == Preview(obstacle="own_sieve_script_active")
