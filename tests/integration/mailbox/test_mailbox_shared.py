"""A folder of a student's that others may use is told by a comparison, on a Dovecot that has access lists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.target import Done
from sesame.operations.questions.reconcile.comparison import TargetComparison, TargetReport
from sesame.testing.servers import require_service
from sesame.testing.servers.mailbox_kit import DovecotHarness, Student, desk_at
from sesame.testing.servers.post_office import PostOffice
from tests.unit.sesame.operations.test_reconcile import stored


@pytest.fixture(scope="module")
def sharing() -> Iterator[PostOffice]:
    with require_service(lambda: PostOffice(access_lists=True)) as office:
        yield office


@pytest.fixture
def listed(sharing: PostOffice, tmp_path: Path) -> Iterator[DovecotHarness]:
    """A desk whose Dovecot has the acl plugin."""
    with desk_at(sharing, tmp_path) as desk:
        yield desk


def provisioned(desk: DovecotHarness, *logins: str) -> list[Student]:
    """Students of whom the pipeline says that their mailboxes have all."""
    students = [desk.student(login) for login in logins]
    for each in students:
        each.account = each.now(activated_at=datetime.now(UTC))
    desk.provision(*students)
    known = [each.account for each in students]
    stored(desk.database, known, **{each.number: {"target": "mailbox"} for each in students})
    return students


def compared(desk: DovecotHarness, *students: Student) -> TargetReport:
    connector = desk.connector(read_only=True)
    return TargetComparison(connector, desk.database).run(again=[each.number for each in students])


def share(desk: DovecotHarness, student: Student, folder: str, with_whom: str, *rights: str) -> None:
    order = {"user": student.mail, "mailbox": folder, "id": with_whom, "right": list(rights)}
    assert desk.office.doveadm(("aclSet", order)) == [("doveadmResponse", [])]


def shared_with(desk: DovecotHarness, student: Student, folder: str) -> set[str]:
    [(_, rows)] = desk.office.doveadm(("aclGet", {"user": student.mail, "mailbox": folder}))
    return {row["id"] for row in rows}


def test_a_folder_that_others_may_use_is_told_and_left_as_it_is(listed: DovecotHarness) -> None:
    lea, paul, ines, hugo = everybody = provisioned(
        listed, "lea.shared", "Paul.Alone", "ines.denies", "hugo.open"
    )
    listed.office.doveadm(("mailboxCreate", {"user": lea.mail, "mailbox": ["Voyages/2026"]}))
    assert compared(listed, *everybody).evidence == {}
    thief = f"user={paul.mail}"
    share(listed, lea, "Voyages/2026", thief, "lookup", "read")
    share(listed, hugo, "INBOX", "anyone", "lookup")
    share(listed, paul, "INBOX", f"user={paul.mail}", "lookup", "read")  # their own, in capitals
    share(listed, ines, "INBOX", thief, "-read")  # it takes away
    found = compared(listed, *everybody)
    assert found.different == sorted([lea.number, hugo.number])
    assert found.evidence == dict.fromkeys(found.different, ("shared_with_others",))
    [outcome] = listed.provision(lea)
    assert isinstance(outcome, Done), "no turn looks at it, nor waits for it"
    assert shared_with(listed, lea, "Voyages/2026") == {thief}


def test_a_thousand_folders_cost_no_more_than_a_hundred(listed: DovecotHarness) -> None:
    [many] = provisioned(listed, "many.folders")
    names = [f"F{at:04}" for at in range(1_000)]
    listed.office.doveadm(*[("mailboxCreate", {"user": many.mail, "mailbox": [name]}) for name in names])
    share(listed, many, "INBOX", "authenticated", "read")
    share(listed, many, names[-1], "anyone", "read")
    assert compared(listed, many).different == [many.number]


def test_a_server_without_access_lists_has_nothing_to_tell_of_them(desk: DovecotHarness) -> None:
    lea, paul = provisioned(desk, "lea.unlisted", "paul.unlisted")
    assert compared(desk, lea, paul).evidence == {}
