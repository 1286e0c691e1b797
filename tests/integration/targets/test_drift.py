"""What a hand changes or removes is told by a real slapd and a real domain controller."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from consumers.active_directory.connector import ActiveDirectoryConnector
from consumers.directory.connector import DirectoryConnector
from consumers.kit.connector import Anything, Secret, TargetObject
from consumers.kit.deadline import Deadline
from sandbox.process import PATIENCE_S
from sandbox.samba import Samba
from sandbox.slapd import Slapd
from schemas.account import Account
from sesame.testing.servers.directory_kit import Consumer, account, directory_of
from tests.integration.active_directory.active_directory_kit import ActiveDirectoryHarness, Domain
from tests.integration.active_directory.active_directory_kit import account as domain_account


def no_secret(_name: str) -> Secret:
    raise AssertionError


class Entries:
    """A directory, its consumer, and somebody with the rights of its administrator."""

    def __init__(self, slapd: Slapd) -> None:
        self.slapd = slapd
        self.consumer = Consumer(slapd)
        self.connector = self.consumer.directory

    def dn(self, login: str) -> str:
        return f"uid={login},{self.slapd.people_dn}"

    def by_hand(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [program, "-Q", "-Y", "EXTERNAL", "-H", self.slapd.ldapi_uri, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={"PATH": os.defpath},
        )
        assert done.returncode == 0, done.stderr

    def changed(self, login: str, name: str, value: str) -> None:
        ldif = f"dn: {self.dn(login)}\nchangetype: modify\nreplace: {name}\n{name}: {value}\n"
        self.by_hand("ldapmodify", stdin=ldif)


@pytest.fixture
def entries(slapd: Slapd) -> Iterator[Entries]:
    made = Entries(slapd)
    yield made
    made.consumer.handler.close()


def told(connector: Anything, mark: str, *known: Account) -> tuple[str, list[TargetObject], bool]:
    """What is told of these students: a change of the last minute may be told again."""
    changes = connector.changes_since(mark)
    assert changes is not None
    numbers = {each.student_number for each in known}
    found = [each for each in changes.objects if each.student_number in numbers]
    return changes.mark, found, changes.gone


def test_a_hand_s_change_is_told_and_ours_is_not(entries: Entries) -> None:
    connector = entries.connector
    mark, found, gone = told(connector, "")
    assert mark
    assert (found, gone) == ([], False)
    ours, theirs = account(), account()
    for one in (ours, theirs):
        entries.consumer.bring(one)
    mark, found, gone = told(connector, mark, ours, theirs)
    assert (found, gone) == ([], False), "we wrote it last"
    entries.changed(theirs.login, "sn", "Changée à la main")
    mark, found, gone = told(connector, mark, ours, theirs)
    assert [(each.student_number, each.fields["sn"]) for each in found] == [
        (theirs.student_number, ("Changée à la main",))
    ]
    assert not gone
    assert told(connector, mark) == (mark, [], False)


def test_an_entry_that_a_hand_removed_or_renamed_is_told(entries: Entries) -> None:
    connector = entries.connector
    removed, renamed = account(), account()
    for one in (removed, renamed):
        entries.consumer.bring(one)
    mark, *_ = told(connector, "")
    entries.by_hand("ldapdelete", entries.dn(removed.login))
    mark, found, gone = told(connector, mark, removed)
    assert (found, gone) == ([], True)
    assert told(connector, mark) == (mark, [], False)
    entries.by_hand("ldapmodrdn", "-r", entries.dn(renamed.login), "uid=somebody.else")
    _, found, _ = told(connector, mark, renamed)
    assert [each.student_number for each in found] == [renamed.student_number]


def test_an_entry_further_down_in_the_branch_is_out_of_place_unless_it_was_adopted_there(
    slapd: Slapd,
) -> None:
    adopted: dict[str, str] = {}
    entries, connector = Entries(slapd), directory_of(slapd, adopted=adopted)
    moved, here, comma = account(), account(), account()
    for one in (moved, here, comma):
        entries.consumer.bring(one)
    below = f"ou=Archives\\, 2025,{slapd.people_dn}"
    entries.by_hand("ldapadd", stdin=f"dn: {below}\nobjectClass: organizationalUnit\nou: Archives, 2025\n")
    mark, *_ = told(connector, "")
    entries.by_hand("ldapmodrdn", "-s", below, entries.dn(moved.login), f"uid={moved.login}")
    entries.by_hand("ldapmodrdn", entries.dn(comma.login), "cn=Élodie\\, la grande")
    numbers = {one.student_number: one for one in (moved, here, comma)}

    def astray() -> set[str]:
        listed = {each.student_number for each in connector.objects() if each.out_of_place}
        read = connector.read(list(numbers.values()), Deadline.after(PATIENCE_S, time.monotonic))
        seen = {
            n
            for n, found in read.items()
            for each in cast("Sequence[TargetObject]", found)
            if each.out_of_place
        }
        assert listed & numbers.keys() == seen
        return seen

    assert astray() == {moved.student_number}
    _, found, _ = told(connector, mark, moved)
    assert [each.out_of_place for each in found] == [True], "within a minute, too"
    adopted[moved.student_number] = found[0].ref.upper()
    assert astray() == set()
    entries.by_hand("ldapdelete", "-r", below)
    entries.consumer.handler.close()


def test_what_happened_while_nobody_asked_is_told_after_a_restart(entries: Entries) -> None:
    one = account()
    entries.consumer.bring(one)
    mark, *_ = told(entries.connector, "")
    entries.by_hand("ldapdelete", entries.dn(one.login))
    entries.slapd.restart()
    _, _, gone = told(Entries(entries.slapd).connector, mark)
    assert gone, "the server has forgotten what it removed: something may be gone"


def test_more_than_can_be_told_is_a_reason_to_compare_everybody(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = entries.connector
    known = [account() for _ in range(3)]
    for one in known:
        entries.consumer.bring(one)
    mark, *_ = told(connector, "")
    for one in known:
        entries.changed(one.login, "displayName", "Tous pareils")
    monkeypatch.setattr("consumers.kit.ldap._SYNC_ENTRIES_MAX", 2)
    fresh, found, gone = told(connector, mark, *known)
    assert gone
    assert {each.student_number for each in found} == {each.student_number for each in known}
    assert told(connector, fresh) == (fresh, [], False)


def test_a_server_without_the_overlay_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that keeps no session log lists what is left: something may be gone."""
    configured = (Path("ops") / "ldap" / "slapd.conf").read_text(encoding="utf-8")
    plain = [line for line in configured.splitlines(keepends=True) if not line.startswith("syncprov-session")]
    for at, lines in enumerate((plain, [line for line in plain if "syncprov" not in line])):
        folder = tmp_path / f"ops{at}"
        folder.mkdir()
        for each in (Path("ops") / "ldap").iterdir():
            (folder / each.name).write_bytes(each.read_bytes())
        (folder / "slapd.conf").write_text("".join(lines), encoding="utf-8")
        monkeypatch.setattr("sandbox.slapd._OPS", folder)
        with Slapd(fsync=False) as slapd:
            entries = Entries(slapd)
            connector = entries.connector
            one = account()
            entries.consumer.bring(one)
            first = connector.changes_since("")
            if at == 1:
                assert first is None
                continue
            assert first is not None
            entries.changed(one.login, "sn", "Changée à la main")
            _, found, gone = told(connector, first.mark, one)
            assert [each.student_number for each in found] == [one.student_number]
            assert gone
            entries.consumer.handler.close()


def test_a_cookie_that_the_server_cannot_use_is_a_reason_to_compare_everybody(entries: Entries) -> None:
    connector = entries.connector
    fresh, _, gone = told(connector, "rid=000,csn=19990101000000.000000Z#000000#000#000000")
    assert gone
    assert fresh != "rid=000,csn=19990101000000.000000Z#000000#000#000000"


def test_a_server_out_of_an_older_backup_or_an_emptied_one_is_a_reason_to_compare_everybody(
    own_slapd: Slapd,
) -> None:
    def replaced(by: Path | None) -> DirectoryConnector:
        own_slapd.stop()
        data = own_slapd.folder / "data"
        shutil.rmtree(data)
        if by is not None:
            shutil.copytree(by, data)
            for path in (data, *data.iterdir()):
                shutil.chown(path, *owner)
        own_slapd.start()
        return Entries(own_slapd).connector

    entries, before, after = Entries(own_slapd), account(), account()
    entries.consumer.bring(before)
    old, *_ = told(entries.connector, "")
    own_slapd.stop()
    held = (own_slapd.folder / "data" / "data.mdb").stat()
    owner, copy = (held.st_uid, held.st_gid), own_slapd.folder / "copy"
    shutil.copytree(own_slapd.folder / "data", copy)
    own_slapd.start()
    entries = Entries(own_slapd)
    entries.consumer.bring(after)
    mark, *_ = told(entries.connector, "")
    older = replaced(copy).changes_since(mark)
    assert older is not None
    assert (older.went_back, older.gone, older.mark) == (True, True, old)
    assert {each.student_number for each in replaced(copy).objects()} == {"", before.student_number}
    again = Entries(own_slapd).connector.changes_since(older.mark)
    assert again is not None
    assert (again.went_back, again.gone) == (False, False), "from then on it is asked as before"
    empty = replaced(None).changes_since(mark)
    assert empty is not None
    assert empty.gone, "it says so of nobody, and is compared with everybody"


def test_since_a_server_was_empty_whatever_others_wrote_is_new(entries: Entries) -> None:
    ours, theirs = account(), account()
    for one in (ours, theirs):
        entries.consumer.bring(one)
    entries.changed(theirs.login, "sn", "Changée à la main")
    mark, found, _ = told(
        entries.connector, "rid=000", ours, theirs
    )  # where nothing was written there is no csn
    assert [each.student_number for each in found] == [theirs.student_number]
    assert "csn=" in mark


def test_a_domain_tells_what_was_changed_and_that_something_was_deleted(samba: Samba) -> None:
    domain = Domain(samba)
    domain.empty()
    desk = ActiveDirectoryHarness(samba)
    connector = desk.connector
    assert isinstance(connector, ActiveDirectoryConnector)
    mark, found, gone = told(connector, "")
    assert (found, gone) == ([], False)
    one = domain_account()
    desk.outcome(one)
    mark, found, _ = told(connector, mark, one)
    assert [each.student_number for each in found] == [one.student_number]
    assert told(connector, mark) == (mark, [], False)
    user = domain.user(one.student_number)
    with domain.admin() as admin:
        admin.delete(user["distinguishedName"][0])
    assert told(connector, mark)[2] is False, "the provisioner may not see what was deleted"
    reader = ActiveDirectoryHarness(
        samba, bind_dn=samba.administrator_dn, bind_password_file=samba.administrator_password_file
    ).connector
    mark, found, gone = told(reader, mark)
    assert (found, gone) == ([], True)
    assert told(reader, mark)[2] is False
    ahead = f"{mark.partition(':')[0]}:{int(mark.partition(':')[2]) + 1_000}"
    back = reader.changes_since(ahead)
    assert back is not None
    assert (back.went_back, back.gone, back.mark) == (True, True, mark), "out of a snapshot of before"
    other = f"{'0' * 32}:{mark.partition(':')[2]}"
    assert told(connector, other)[1:] == ([], True), "the numbers of another controller say nothing"
