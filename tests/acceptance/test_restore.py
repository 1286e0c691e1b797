"""After a restore nobody is opened who was shut: the guide's own commands, on real servers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from sandbox.demo import play, sweep_directory, sweep_mail, sweep_moodle
from sandbox.demo.machine import sesame_program
from sandbox.demo.play import Cast
from sandbox.demo.program import DONE, PARTLY
from sandbox.demo.world import World
from sandbox.process import PATIENCE_S, wait_until
from sesame.testing.servers import require_service
from tests.acceptance.acting import give_other_number, settle
from tests.acceptance.test_erasure import leave, traces_in
from tests.docs.documents import Block, blocks

pytestmark = pytest.mark.timeout(1800)

GUIDE = "docs/how-to/back-up-restore-upgrade.md"
STUDENTS = 6
HELD = 5


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, Cast]]:
    """Everybody activated and complete."""
    postgres = request.param == "postgresql"
    with require_service(lambda: World(tmp_path, postgres=postgres)) as world:
        play.prepare(world)
        cast = play.enrol(world, STUDENTS)
        play.activate(world, cast)
        settle(world, len(cast.students))
        yield world, cast


class Guide:
    """The page's commands, for a site whose files are elsewhere. On PostgreSQL the log is embedded, too."""

    def __init__(self, world: World, cast: Cast, folder: Path) -> None:
        self.world = world
        self.backup = folder / "backup"
        self.backup.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "sesame").symlink_to(sesame_program())
        self._places = {
            "-o sesame -g sesame": "",
            "runuser -u sesame -- ": "",
            "/var/lib/sesame/": f"{world.private}/data/",
            "/var/backups/sesame": str(self.backup),
            "/srv/apogee/export.csv": str(cast.file),
        }
        self._env = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SESAME_CONFIG": str(world.settings_file),
        }

    def block(self, beginning: str, *, without: str = "") -> list[str]:
        """The commands of the page's block that begins so."""
        [found] = [each for each in blocks() if each.document == GUIDE and _begins(each, beginning)]
        return [line for line in found.lines if not without or without not in line]

    def follow(self, commands: list[str]) -> str:
        """Run these, one shell for all; what they say."""
        script = "set -e\n" + "\n".join(commands)
        for written, here in self._places.items():
            script = script.replace(written, here)
        done = subprocess.run(
            ["bash", "-c", script],
            env=self._env,
            cwd=self.world.private,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (DONE, PARTLY), f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout


def _begins(block: Block, beginning: str) -> bool:
    return bool(block.lines) and block.lines[0].startswith(beginning)


ALL_SHUT = {"directory": True, "mailbox": True, "moodle": True}
ALL_OPEN = dict.fromkeys(ALL_SHUT, False)


def shut_at(world: World, cast: Cast, number: str) -> dict[str, bool]:
    """Whether each target shows this student shut: asked by ldapsearch, IMAP, the web service."""
    criterion = f"(supannEtuId={number})"
    slapd, locked = world.slapd, "pwdAccountLockedTime"
    entry = sweep_directory.search(slapd, slapd.people_dn, criterion, "mail", locked)
    [mail] = re.findall(r"^mail: (.*)$", entry, re.MULTILINE)
    users = sweep_moodle.dump(world.moodle).users.values()
    [user] = [each for each in users if each["idnumber"] == number]
    return {
        "directory": f"{locked}: 000001010000Z" in entry,
        "mailbox": not opens(world, mail, cast.passwords[number]),
        "moodle": bool(user["suspended"]),
    }


def opens(world: World, mail: str, password: str) -> bool:
    try:
        sweep_mail.inbox(world.dovecot, mail, password)
    except sweep_mail.LoginRefused:
        return False
    return True


def back_up(guide: Guide) -> None:
    guide.follow(guide.block("sesame backup --to"))
    if guide.world.postgres is not None:
        guide.follow([f"pg_dump --format=custom --file {guide.backup}/sesame.dump '{_address(guide.world)}'"])


def restore(guide: Guide, more: str = "") -> None:
    [made] = guide.backup.glob("sesame-*Z")
    [typed] = guide.block("sesame restore /var/backups")
    guide.follow([f"{typed.rpartition('/')[0]}/{made.name} --yes {more}"])
    if guide.world.postgres is not None:
        guide.world.postgres.drop("sesame")
        guide.world.postgres.create("sesame")
        guide.follow([f"pg_restore --no-owner --dbname '{_address(guide.world)}' {guide.backup}/sesame.dump"])


def _address(world: World) -> str:
    assert world.postgres is not None
    return make_url(world.postgres.url()).set(drivername="postgresql").render_as_string(hide_password=False)


def test_whoever_was_shut_after_the_backup_stays_shut_and_is_asked_about(
    site: tuple[World, Cast], tmp_path: Path
) -> None:
    world, cast = site
    guide = Guide(world, cast, tmp_path)
    complete = [number for number, said in play.announced(world).items() if said.state == "completed"]
    earlier, stolen, mistaken, free = complete[:4]
    others = {number: give_other_number(world, cast, number) for number in (earlier, stolen)}

    def place(number: str) -> None:
        world.sesame.run("hold", "place", others.get(number, number), "--reason", "password stolen")
        wait_until(lambda: shut_at(world, cast, number) == ALL_SHUT, f"{number} shut", PATIENCE_S)

    place(earlier)
    back_up(guide)
    place(stolen)
    place(mistaken)
    world.pipeline.stop()
    restore(guide)

    # Whoever starts without reading the page opens nobody.
    starting = ("run",) if world.postgres is None else ("consume", "moodle")
    for words in (starting, ("replay", "--consumer", "moodle", "--all", "--yes"), ("provision", stolen)):
        refused = world.sesame.run(*words, allowed=(HELD,))
        assert "sesame restored check" in refused.err

    guide.follow(guide.block("sesame privacy again"))
    asked = world.sesame.run("restored", "list", "--json").json()
    assert sorted(each["student_number"] for each in asked) == sorted([stolen, mistaken])
    assert all(each["shown_shut_by"] == ["directory", "mailbox", "moodle"] for each in asked)

    commands = guide.block("sesame doctor")
    started = next(at for at, line in enumerate(commands) if line.startswith("setsid"))
    guide.follow(commands[:started])
    world.pipeline.start()
    guide.follow(commands[started + 1 :])
    wait_until(lambda: replayed(world), "the replays", PATIENCE_S)
    for number in (earlier, stolen, mistaken):
        assert shut_at(world, cast, number) == ALL_SHUT
    assert shut_at(world, cast, free) == ALL_OPEN

    world.sesame.run("restored", "open", mistaken, "--reason", "shut by mistake")
    world.sesame.run("restored", "keep", others[stolen], "--reason", "not chosen again yet")
    wait_until(lambda: shut_at(world, cast, mistaken) == ALL_OPEN, f"{mistaken} open", PATIENCE_S)
    assert shut_at(world, cast, stolen) == ALL_SHUT
    assert world.sesame.run("restored", "list", "--json").json() == []
    acts = {each["action"] for each in world.sesame.run("audit", "--json").json()}
    assert {"restored.check", "restored.opened", "restored.kept"} <= acts
    assert world.sesame.run("restored", "keep", stolen, "--reason", "again", allowed=(1,)).code == 1


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)  # on both: test_erased_again
def test_whoever_was_erased_after_the_backup_is_erased_again_by_the_receipt(
    site: tuple[World, Cast], tmp_path: Path
) -> None:
    world, cast = site
    guide, data = Guide(world, cast, tmp_path), world.private / "data"
    lea, paul = [number for number, said in play.announced(world).items() if said.state == "completed"][:2]
    slapd = world.slapd
    entry = sweep_directory.search(slapd, slapd.people_dn, f"(supannEtuId={lea})", "uid", "mail")
    other = give_other_number(world, cast, lea)
    traces = [lea, other, *re.findall(r"^(?:uid|mail): (.*)$", entry, re.MULTILINE)]
    assert len(traces) == 4
    world.sesame.run("privacy", "init")
    leave(world, cast, lea)
    back_up(guide)
    keys = shutil.copy(data / "person-keys.db", tmp_path) if world.postgres is None else ""
    world.sesame.run("privacy", "erase", lea, "--reason", "request", "--receipt", tmp_path / "first.json")
    world.pipeline.stop()
    more = ""
    if world.postgres is None:  # the keys are lost as well, and a copy is older than the erasure
        (data / "person-keys.db").unlink()
        more = f"--keys {keys}"
    restore(guide, more)
    for kept in data.glob("before-restore-*"):
        shutil.rmtree(kept)
    for number in (lea, other):
        brought_back = world.sesame.run("privacy", "export", number, "--json").json()
        assert brought_back["student_numbers"] == [lea, other]

    said = guide.follow(guide.block("sesame privacy again")[1:])
    assert "Erasures that this store does not know: 1. sesame privacy again" in said
    assert world.sesame.run("restored", "list", "--json").json() == [], "her mailbox is rightly away"
    assert f"{lea} is erased again" in guide.follow(guide.block("sesame privacy again"))
    world.pipeline.start()

    def erased() -> list[dict[str, str]]:
        found: list[dict[str, str]] = world.sesame.run("privacy", "list", "--json").json()
        return [each for each in found if each["state"] == "done"]

    wait_until(lambda: len(erased()) == 2, "the erasure", PATIENCE_S)
    ours, first = (each["id"] for each in erased())
    receipt = data / "receipts" / f"{ours}.json"
    verified = world.sesame.run("privacy", "verify", receipt, "--student", other, "--json").json()
    assert first in verified["receipt"]["reason"]
    absent = {line["target"] for line in verified["receipt"]["targets"]}
    assert {"directory", "mailbox", "moodle"} <= absent
    users = {each["idnumber"] for each in sweep_moodle.dump(world.moodle).users.values()}
    for number in (lea, other):
        assert world.sesame.run("privacy", "export", number, allowed=(1,)).code == 1
        assert "dn:" not in sweep_directory.search(slapd, slapd.base_dn, f"(supannEtuId={number})", "dn")
        assert number not in users
    assert traces_in(data, traces) == []
    assert world.sesame.run("status", paul, "--json").json()["stage"] == "active"
    again = world.sesame.run("privacy", "again", tmp_path / "first.json", "--json").json()
    assert [each["outcome"] for each in again] == ["absent"]


def replayed(world: World) -> bool:
    """Whether everybody whom the replays asked has been compared."""
    replays = world.sesame.run("replays", "--json").json()
    return len(replays) == 3 and all(each["done"] + each["failed"] >= each["students"] for each in replays)
