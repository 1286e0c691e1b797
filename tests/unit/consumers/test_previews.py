"""What a replay would change in each target, from what was read there and without a write."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.directory.objects import LOCKED_FOR_GOOD
from consumers.mailbox.mailbox import SCRIPT
from consumers.mailbox.welcome_journal import RecordedIntent
from pipeline.target import Done, Preview, Task
from schemas.account import Account, Hold
from sesame.testing.servers.ldap_kit import DN, NUMBER, Tree, directory_on, student, tree_of
from sesame.testing.servers.mail_kit import Box, MailboxHarness, account, desk_of

# --- directory ------------------------------------------------------------------------------------


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Tree:
    return tree_of(monkeypatch)


def in_directory(wanted: Account) -> Preview:
    return directory_on().handler().preview([wanted])[NUMBER]


def write(wanted: Account) -> None:
    assert isinstance(directory_on().handler().handle([Task(wanted)])[NUMBER], Done)


def test_an_entry_that_is_missing_would_be_made_and_one_as_it_should_be_left(tree: Tree) -> None:
    assert in_directory(student()).differs[0] == "object"
    assert not tree.wrote()
    write(student())
    assert in_directory(student()) == Preview()


def test_what_somebody_changed_by_hand_is_named_and_nothing_is_written(tree: Tree) -> None:
    write(student())
    tree.write(DN, sn="Other", mail=[], pwdAccountLockedTime=LOCKED_FOR_GOOD)
    before = len(tree.wrote())
    assert set(in_directory(student()).differs) == {"sn", "mail", "access"}
    assert len(tree.wrote()) == before


@pytest.mark.usefixtures("tree")
def test_an_entry_that_a_newer_version_wrote_would_not_be_taken_back() -> None:
    write(student(version=3))
    assert in_directory(student(version=2)).obstacle == "superseded"


# --- mailbox --------------------------------------------------------------------------------------


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> MailboxHarness:
    return desk_of(monkeypatch, folders=("Scolarite",), quota_bytes=1024)


def in_mailbox(desk: MailboxHarness, wanted: Account, box: Box | None, *, welcome: bool = False) -> Preview:
    if not welcome:
        desk.journal.kept["1"] = RecordedIntent("<1@x>", 1, 1, "sent")
    if box is not None:
        desk.server.boxes[wanted.mail] = box
    return desk.preview(wanted)


def box_of(**changes: Any) -> Box:
    folders = {"INBOX", "Scolarite"}
    box = {"folders": set(folders), "subscribed": set(folders), "quota": "1", "uidvalidity": 1, "uidnext": 2}
    return Box(**{**box, **changes})


@pytest.mark.parametrize(
    ("box", "welcome", "expected"),
    [
        (box_of(), False, Preview()),
        (box_of(subscribed={"INBOX"}), False, Preview(("folders",))),
        (box_of(quota="-"), False, Preview(("quota",), "read_back_differs")),
        (box_of(uidnext=1, used_kib=1), True, Preview(("welcome",), "mailbox_full")),
        (box_of(subscribed=set(), used_kib=1), False, Preview(("folders",), "mailbox_full")),
        (box_of(scripts={SCRIPT: "keep;"}, used_kib=1), False, Preview(("redirect",))),
        (box_of(used_kib=1), False, Preview()),
        (box_of(scripts={SCRIPT: "keep;"}), False, Preview(("redirect",))),
        (box_of(uidnext=1), True, Preview(("welcome",))),
        (box_of(uidnext=1), False, Preview()),
        (None, False, Preview(obstacle="mailbox_not_enabled")),
    ],
)
def test_a_mailbox_is_compared_by_what_the_pipeline_owns(
    desk: MailboxHarness, box: Box | None, welcome: bool, expected: Preview
) -> None:
    assert in_mailbox(desk, account("1"), box, welcome=welcome) == expected


def test_a_mailbox_that_cannot_be_read_is_an_obstacle(desk: MailboxHarness) -> None:
    desk.server.bends = lambda asked, answer: 1 if asked.name == "quotaGet" else answer
    assert in_mailbox(desk, account("1"), box_of()) == Preview(obstacle="mailbox_busy")


def test_a_mailbox_of_a_shut_account_is_as_it_should_be_when_the_server_does_not_know_it(
    desk: MailboxHarness,
) -> None:
    shut = account("1", holds=(Hold.SUSPENDED,))
    assert in_mailbox(desk, shut, None) == Preview()
    assert in_mailbox(desk, shut, box_of()) == Preview(obstacle="directory_behind")


def test_a_redirection_that_a_students_own_script_hides_would_wait(desk: MailboxHarness) -> None:
    redirected = account("1", mail_redirect="hugo@exemple.org")
    box = box_of(scripts={"tri": "keep;"}, active="tri")
    assert in_mailbox(desk, redirected, box) == Preview(obstacle="own_sieve_script_active")
