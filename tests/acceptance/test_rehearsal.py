"""A twin of a real site, played on real servers: nobody of the site is in it, and all of it is done."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from sandbox.demo import live, play, twin
from tests.acceptance.acting import Silent, disagreements, world_with_accounts

STUDENTS, TWINS = 20, 30

pytestmark = pytest.mark.timeout(900)


def test_a_twin_is_played_on_real_servers_and_holds_nobody_of_the_site(tmp_path: Path) -> None:
    with world_with_accounts(tmp_path / "records", STUDENTS) as (world, cast):
        play.activate(world, cast)
        play.follow(world, STUDENTS, view=Silent())
        folder = tmp_path / "twin"
        said = world.sesame.run("rehearse", folder, "--students", str(TWINS), "--json").json()
        assert said["folder"] == str(folder)
        assert said["like"] is not None, "they came just now"
        assert said["targets"].keys() == {"directory", "mailbox", "moodle"}
        told = [said[name] is not None for name in ("seconds", "done_at", "low", "high", "brake")]
        assert told == [said["cause"] is None] * 5, "so few may tell too little"

        written = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
        kept = json.loads(written["rehearsal.json"])
        assert datetime.fromisoformat(kept["at"]) == datetime.fromisoformat(said["at"])
        assert [kept[name] for name in ("cause", "seconds")] == [said[name] for name in ("cause", "seconds")]
        text = "".join(written.values()).lower()
        for student in cast.students.values():
            for own in (student.number, student.family_name, student.given_name):
                assert own.lower() not in text, own

        twins = play.enrol(world, TWINS, files=twin.files(folder))
        assert len(twins.students) == TWINS == len(live.read(folder / "arrivals.csv"))
        assert not twins.students.keys() & cast.students.keys()
        steps = Counter(len(student.steps) for student in twins.students.values())
        assert steps.keys() <= {len(student.steps) for student in cast.students.values()}
        twin.come(folder, lambda numbers: play.activate(world, twins, numbers))
        play.follow(world, STUDENTS + TWINS, view=Silent())
        twins.students |= cast.students
        twins.passwords |= cast.passwords
        assert not disagreements(world, twins)
