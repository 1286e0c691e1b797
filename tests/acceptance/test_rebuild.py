"""A store is lost and there is no backup: it is made again of the log and the targets, on real servers."""

from __future__ import annotations

import csv
import imaplib
import ssl
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

import pytest

from sandbox.demo import play
from sandbox.demo.play import Cast
from sandbox.demo.program import DONE, PARTLY
from sandbox.demo.sweep import sweep
from sandbox.demo.world import World
from sandbox.process import PATIENCE_S, wait_until
from tests.acceptance.acting import STUDENTS, Targets, everything, settle, world_with_accounts
from tests.acceptance.test_restore import ALL_OPEN, ALL_SHUT, shut_at

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[World, Cast, list[str]]]:
    """Everybody but the last eight has activated, and is settled; who has not is told."""
    with world_with_accounts(tmp_path) as (world, cast):
        late = sorted(cast.students)[-8:]
        early = [number for number in cast.students if number not in late]
        play.activate(world, cast, early)
        settle(world, len(early))
        yield world, cast, late


def lose(world: World, *files: str) -> None:
    world.pipeline.stop()
    for name in files:
        for end in ("", "-wal", "-shm"):
            (world.private / "data" / f"{name}{end}").unlink(missing_ok=True)


def rebuilt(world: World, *more: str) -> dict[str, object]:
    found: dict[str, object] = world.sesame.run(
        "restored", "rebuild", "--json", *more, allowed=(DONE, PARTLY)
    ).json()
    return found


def import_again(world: World, file: Path, rejects: str) -> None:
    words = ("import", file, "--rejects", world.private / rejects, "--json")
    world.sesame.run(*words, allowed=(DONE, PARTLY))


def homonym(cast: Cast, number: str, folder: Path) -> tuple[Path, str]:
    """The registrar's file with a newcomer besides, who is called as this student is."""
    text = cast.file.read_text(encoding="utf-8").rstrip("\n")
    rows = csv.DictReader(text.splitlines(), delimiter=";")
    like = next(row for row in rows if row["COD_ETU"] == number)
    other = {"COD_ETU": "22699999", "COD_NNE_IND": "", "DATE_NAI_IND": "01/02/1999", "MAIL_PERSO": ""}
    path = folder / "with-newcomer.csv"
    path.write_text("\n".join([text, ";".join((like | other).values()), ""]), encoding="utf-8")
    return path, "22699999"


def delete_messages(world: World, mail: str, password: str) -> None:
    """As a student does who has read the welcome: no Message-ID is found any more."""
    tls = ssl.create_default_context(cafile=str(world.dovecot.ca_file))
    with imaplib.IMAP4_SSL(
        "127.0.0.1", world.dovecot.ports.imaps, ssl_context=tls, timeout=PATIENCE_S
    ) as client:
        client.login(mail, password)
        client.select("INBOX")
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()


def logins(world: World) -> dict[str, str]:
    return {number: said.login for number, said in play.announced(world).items()}


def same(before: Targets, after: Targets) -> None:
    changed = list(unified_diff(before.people.splitlines(), after.people.splitlines(), lineterm=""))
    assert not changed, "\n".join(changed)
    assert after.groups == before.groups
    assert after.moodle == before.moodle
    assert after.mail == before.mail, "nobody is welcomed again"


@pytest.mark.parametrize("lost", [("sesame.db",), ("sesame.db", "events.db")], ids=["store", "store and log"])
def test_a_lost_store_is_made_again_and_nobody_notices(
    site: tuple[World, Cast, list[str]], tmp_path: Path, lost: tuple[str, ...]
) -> None:
    world, cast, late = site
    early = [number for number in cast.students if number not in late]
    shut = early[0]
    world.sesame.run("hold", "place", shut, "--kind", "administrative", "--reason", "a matter of discipline")
    wait_until(lambda: shut_at(world, cast, shut) == ALL_SHUT, "shut", PATIENCE_S)
    said = play.announced(world)
    delete_messages(world, said[early[2]].mail, cast.passwords[early[2]])
    whole = Cast(cast.file, {number: cast.students[number] for number in early[1:]}, cast.passwords)
    before, names = everything(world, whole, said), logins(world)

    lose(world, *lost)
    counted = rebuilt(world)
    assert counted["written"] is False
    assert counted["entries"] == len(names)
    assert world.sesame.run("overview", "--json").json()["accounts"] == 0, "a dry run"
    found = rebuilt(world, "--write")
    if len(lost) == 1:
        assert (found["activated"], found["unknown"]) == (0, 0), "the log knew them all"
        assert found["accounts"] == len(names)
    else:
        assert found["unknown"] == found["entries"], "the registrar's file brings them"
    world.pipeline.start()
    file, newcomer = homonym(cast, early[1], tmp_path)
    groups = play.registrar_files(world, STUDENTS)[1]
    world.sesame.run("import", "--groups", groups, "--rejects", world.private / "rejects-3.csv")
    import_again(world, file, "rejects-2.csv")
    play.wait_for_accounts(world, STUDENTS + 1)
    if len(lost) == 2:
        world.pipeline.stop()
        found = rebuilt(world, "--write")
        assert found["activated"] == len(names)
        world.pipeline.start()
    settle(world, len(names))

    same(before, everything(world, whole, said))
    assert {number: login for number, login in logins(world).items() if number in names} == names
    for number in early[1:4]:
        assert shut_at(world, cast, number) == ALL_OPEN
    assert shut_at(world, cast, shut) == ALL_SHUT
    world.sesame.run("activate", newcomer, "--password-file", password(world, newcomer))
    wait_until(lambda: newcomer in logins(world), "the newcomer", PATIENCE_S)
    assert logins(world)[newcomer] not in names.values()
    play.activate(world, cast, late)
    settle(world, STUDENTS)
    swept = sweep(world, cast.students, play.announced(world), cast.passwords)
    assert [one for one in swept.disagreements if one.number not in (shut, newcomer, early[2])] == []


def password(world: World, number: str) -> Path:
    path = world.private / "newcomer"
    path.touch(mode=0o600)
    path.write_text(f"{number}:une phrase assez longue 2026\n", encoding="utf-8")
    return path
