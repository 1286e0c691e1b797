"""`sesame run` fed by Pégase: a start, a crash in the first import, addresses told back, and doctor."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import live, play, roll, sweep_directory
from sandbox.demo.world import World
from sandbox.pegase import Pegase, inscription
from sandbox.process import PATIENCE_S, wait_until
from sesame.testing.servers import require_service
from tests.acceptance.acting import settle

STUDENTS = 1_500
DOWN, HELD = 4, 5  # exit codes

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with require_service(lambda: World(tmp_path, pegase=True)) as world:
        yield world


def served(world: World) -> Pegase:
    assert world.pegase is not None
    return world.pegase


def consumers(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.sesame.overview()["consumers"]
    return found


def appended(world: World) -> Counter[str]:
    """How many enrolments the log has of each student, by a reader of its own."""
    file = world.private / "data" / "events.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as log:
        found = log.execute("SELECT key, value FROM records").fetchall()
    return Counter(key for key, value in found if "birth_date" in json.loads(value))


def test_a_crash_in_the_first_import_loses_nobody_and_an_activation_follows(world: World) -> None:
    world.start()
    world.sesame.run("vault", "init")
    file, groups = live.narrow(*play.registrar_files(world, STUDENTS), world.private)
    students = roll.read(file, groups)
    live.feed(served(world), file, groups)
    world.start_pipeline()
    wait_until(lambda: bool(appended(world)), "the first enrolments", PATIENCE_S)
    world.pipeline.kill()
    assert len(appended(world)) < len(students), "it was killed in the middle"

    world.start_pipeline()
    play.wait_for_accounts(world, len(students))
    assert appended(world).keys() == students.keys()

    cast = play.Cast(file, students)
    some = list(students)[:6]
    play.activate(world, cast, some)
    settle(world, len(some))
    served(world).stop()
    wait_until(lambda: "pegase" in consumers(world), "Sésame to say what is wrong", PATIENCE_S)
    assert consumers(world)["pegase"]["state"] == "retrying"
    assert "no answer" in consumers(world)["pegase"]["reason"]
    served(world).start()
    live.feed(served(world), file, groups)
    wait_until(lambda: "pegase" not in consumers(world), "Sésame to go on", PATIENCE_S)
    said = play.announced(world)
    assert {number: said[number].state for number in some} == dict.fromkeys(some, "completed")


def test_doctor_and_the_command_tell_what_pegase_does(world: World) -> None:
    world.start()
    world.sesame.run("vault", "init")
    world.sesame.run("migrate")
    file, groups = live.narrow(*play.registrar_files(world, 60), world.private)
    live.feed(served(world), file, groups)
    assert "places in groups" in world.sesame.run("doctor", "--only", "pegase").out
    served(world).set(rewrite={"mels": None, "couleur": "bleue"})
    assert "new field couleur" in world.sesame.run("imports", "poll").err
    cancelled = [each | {"statutInscription": "annulee"} for each in map(inscription, live.read(file))]
    served(world).put(cancelled)
    time.sleep(1.1)  # a window ends before the present second
    report = world.sesame.run("imports", "poll", "--json", allowed=(HELD,)).json()
    assert report["held"] == len(cancelled)
    done = world.sesame.run("imports", "poll", "--approve", report["approval"], "--json").json()
    assert (done["held"], done["imported"]) == (0, len(cancelled))
    served(world).stop()
    assert "no answer" in world.sesame.run("imports", "poll", allowed=(DOWN,)).err


def test_addresses_are_told_back_after_the_mailbox_and_a_correction_stays(world: World) -> None:
    world.start()
    world.sesame.run("vault", "init")
    file, groups = live.narrow(*play.registrar_files(world, 60), world.private)
    live.feed(served(world), file, groups)
    world.start_pipeline()
    cast = play.Cast(file, roll.read(file, groups))
    play.wait_for_accounts(world, len(cast.students))
    opened = [number for number, student in cast.students.items() if student.complete]
    corrected, accepted, *others = opened[:30]
    theirs = {corrected: "corrigee@scolarite.fr", accepted: "voulue@scolarite.fr"}
    served(world).correct(theirs)
    for fault in ({"status": 500}, {"html": True}, {"hang_up": True}, {"status": 403}, {"delay_s": 3.0}):
        served(world).fault(module="idt", calls=2, **fault)
    play.activate(world, cast, [corrected, accepted, *others])

    def mails() -> dict[str, str]:
        return served(world).mails()

    wait_until(lambda: len(mails()) == 30, "the addresses at Pégase", PATIENCE_S)
    entries = sweep_directory.dump(world.slapd).values()
    due = {number: entry["mail"][0] for entry in entries for number in entry["supannEtuId"]}
    assert mails() == {number: due[number] for number in others} | theirs
    settle(world, 30)
    said = play.announced(world)
    assert [said[number].reasons for number in theirs] == [["pegase_corrected"]] * 2
    assert {said[number].state for number in others} == {"completed"}

    asked = {each["student_number"]: each for each in questions(world)}
    assert asked.keys() == theirs.keys()
    assert {each["kind"] for each in asked.values()} == {"corrected"}
    world.sesame.run("adopt", "decide", asked[accepted]["id"], "--link", "--reason", "asked for in writing")
    wait_until(lambda: play.announced(world)[accepted].state == "completed", "the accepted one", PATIENCE_S)
    assert mails()[accepted] == theirs[accepted]
    assert [each["student_number"] for each in questions(world)] == [corrected]
    served(world).correct({corrected: ""})
    wait_until(lambda: mails()[corrected] == due[corrected], "ours, once theirs is emptied", PATIENCE_S)
    wait_until(lambda: not questions(world), "the question to close", PATIENCE_S)


def questions(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.sesame.run("adopt", "questions", "--json").json()
    return found
