"""A student is erased on real servers, by the commands of the how-to: nothing is left, and it is proved."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import play, sweep_directory, sweep_mail, sweep_moodle
from sandbox.demo.play import Cast
from sandbox.demo.program import DONE
from sandbox.demo.world import World
from sandbox.process import PATIENCE_S, wait_until
from tests.acceptance.acting import give_other_number, settle, world_with_accounts

pytestmark = pytest.mark.timeout(1200)

STUDENTS = 12
HELD = 5


def known(world: World, number: str) -> dict[str, str]:
    """What tells this student from everybody else."""
    with closing(sqlite3.connect(world.private / "data" / "sesame.db")) as store:
        found = "SELECT ine, personal_mail FROM people WHERE student_number = ?"
        [(ine, personal)] = store.execute(found, (number,)).fetchall()
        [(document,)] = store.execute(
            "SELECT document FROM accounts WHERE student_number = ?", (number,)
        ).fetchall()
    account: dict[str, Any] = json.loads(document)
    traces = {"ine": ine, "personal mail": personal, "login": account["login"], "mail": account["mail"]}
    return {kind: trace for kind, trace in traces.items() if trace}


def leave(world: World, cast: Cast, number: str) -> None:
    """The registrar's file comes without this student's numbers, nor lines that nobody can be found by."""
    header, *lines = cast.file.read_bytes().splitlines(keepends=True)
    others = [each.encode() for each in cast.students if each != number]
    left = world.private / "left.csv"
    left.write_bytes(header + b"".join(line for line in lines if any(each in line for each in others)))
    words = ("import", left, "--full", "--year", "2026", "--rejects", world.private / "r.csv", "--json")
    answer = world.sesame.run(*words, allowed=(DONE, 3, HELD))
    if answer.code == HELD:
        world.sesame.run(*words, "--approve", str(answer.json()["approval"]), allowed=(DONE, 3))

    def has_left() -> bool:
        return bool(world.sesame.run("status", number, "--json").json()["stage"] == "grace")

    wait_until(has_left, f"{number} has left", PATIENCE_S)


def traces_in(folder: Path, traces: list[str]) -> list[str]:
    """The files below a folder that have one of these as a word of its own, as bytes."""
    word = re.compile(
        b"|".join(rb"(?<![\w.-])" + re.escape(each.encode()) + rb"(?![\w-])" for each in traces)
    )
    return [str(path) for path in folder.rglob("*") if path.is_file() and word.search(path.read_bytes())]


def traces_in_moodle(world: World, traces: list[str]) -> list[str]:
    """Of these what stands in a row of Moodle's database: of deleted users, and of the site's log."""
    with closing(sqlite3.connect(world.moodle.data_file)) as db:
        found = [repr(row) for table in ("users", "events") for row in db.execute(f"SELECT * FROM {table}")]  # noqa: S608
    assert any("user_deleted" in row for row in found)
    return [each for each in traces for row in found if each in row]


def test_an_erased_student_is_nowhere_and_a_receipt_says_so(tmp_path: Path) -> None:
    with world_with_accounts(tmp_path, STUDENTS) as (world, cast):
        play.activate(world, cast)
        settle(world, len(cast.students))
        complete = [number for number, said in play.announced(world).items() if said.state == "completed"]
        lea, paul = complete[:2]
        other = give_other_number(world, cast, lea)
        traces = known(world, lea) | {"other number": other}
        data = world.private / "data"
        assert traces_in(data, [lea]) != [] != traces_in(data, [other])
        world.sesame.run("privacy", "init")
        shown = world.sesame.run("privacy", "export", other, "--json").json()
        assert sorted(shown["student_numbers"]) == sorted([lea, other])
        assert {each["target"] for each in shown["targets"] if each["objects"]} >= {"directory", "moodle"}
        world.sesame.run("backup", "--to", world.private / "backup")
        leave(world, cast, lea)

        receipt = world.private / "receipt.json"
        world.sesame.run("privacy", "erase", other, "--reason", "on request", "--receipt", receipt)

        assert traces_in(data, [lea, *traces.values()]) == []
        assert traces_in(world.private / "backup", [lea, *traces.values()]) == []
        logs = [path.read_bytes() for path in world.pipeline.log_files]
        assert logs
        named = [*traces.values(), *cast.students]
        assert [each for each in named for log in logs if each.encode() in log] == []
        slapd = world.slapd
        for criterion in (
            f"(supannEtuId={lea})",
            f"(supannEtuId={other})",
            f"(uid={traces['login']})",
            f"(mail={traces['mail']})",
        ):
            assert "dn:" not in sweep_directory.search(slapd, slapd.base_dn, criterion, "dn")
        assert lea not in {each["idnumber"] for each in sweep_moodle.dump(world.moodle).users.values()}
        assert traces_in_moodle(world, [lea, traces["login"], traces["mail"]]) == []
        with pytest.raises(sweep_mail.LoginRefused):
            sweep_mail.inbox(world.dovecot, traces["mail"], cast.passwords[lea])
        fingerprint = world.sesame.run("privacy", "key", "--json").json()["fingerprint"]
        words = ("privacy", "verify", receipt, "--key", fingerprint, "--json")
        for number in (lea, other):
            verified = world.sesame.run(*words, "--student", number).json()
            assert {"directory", "mailbox", "moodle"} <= {
                line["target"] for line in verified["receipt"]["targets"]
            }
        assert world.sesame.run("audit", "verify").code == DONE
        assert world.sesame.run("status", paul, "--json").json()["stage"] == "active"
        assert [each for each in (lea, *traces.values()) if each in receipt.read_text(encoding="utf-8")] == []
