"""Dead letters that nobody can act on are dismissed, with a reason; a student's are not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.db import migrate
from pipeline.db.database import Database
from pipeline.dead_letters import events as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from sesame.cli import main
from sesame.testing.servers.command import sesame

LEA = "22600001"
REASON = ("--reason", "a test of the timetable office")


@pytest.fixture(autouse=True)
def site(command_folder: Path) -> Path:
    database = Database(f"sqlite:///{command_folder / 'data' / 'sesame.db'}")
    migrate.upgrade(database)
    letters = [
        DeadLetter("aa1-0000-0000", "registry", None, None, "not_an_event", "no headers", 1, 1.0),
        DeadLetter("aa2-0000-0000", "moodle", None, None, "not_an_event", "no headers", 1, 2.0),
        DeadLetter("bb1-0000-0000", "registry", LEA, None, "unknown_student", "who?", 1, 3.0, event_id="e-1"),
        DeadLetter("cc1-0000-0000", "moodle", LEA, 1, "moodle_refused_values", "a name too long", 5, 4.0),
    ]
    with database.write() as connection:
        for letter in letters:
            dead_letters.record(connection, database, letter)
    database.close()
    return command_folder


def ask(site: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(site / "data" / "sesame.db") as database:
        rows = database.execute(query).fetchall()
    database.close()
    return rows


def open_letters(site: Path) -> list[object]:
    return [row[0] for row in ask(site, "SELECT id FROM dead_letters WHERE resolved_at IS NULL ORDER BY id")]


def test_poison_records_are_dismissed_in_bulk_and_listed_no_more(site: Path) -> None:
    result = sesame("dead-letters", "dismiss", "--cause", "not_an_event", *REASON, "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 dismissed")
    assert open_letters(site) == ["bb1-0000-0000", "cc1-0000-0000"]
    assert ask(site, "SELECT resolution FROM dead_letters WHERE id = 'aa1-0000-0000'") == [("dismissed",)]
    (entry,) = json.loads(sesame("audit", "--json").stdout)
    assert (entry["action"], entry["reason"]) == ("dead_letters.dismiss", REASON[1])
    assert entry["detail"]["count"] == 2


def test_one_is_dismissed_by_its_id_and_those_who_heard_of_it_hear_of_that_too(site: Path) -> None:
    assert sesame("dead-letters", "dismiss", "bb", *REASON, "--yes", "--json").exit_code == 0
    assert open_letters(site) == ["aa1-0000-0000", "aa2-0000-0000", "cc1-0000-0000"]
    said = ask(site, "SELECT CAST(value AS TEXT) FROM outbox WHERE CAST(value AS TEXT) LIKE '%bb1%'")
    assert [json.loads(str(value)).get("resolution") for (value,) in said] == [None, "dismissed"]


def test_of_one_consumer_only(site: Path) -> None:
    words = ("--cause", "not_an_event", "--consumer", "moodle")
    assert sesame("dead-letters", "dismiss", *words, *REASON, "--yes").exit_code == 0
    assert open_letters(site) == ["aa1-0000-0000", "bb1-0000-0000", "cc1-0000-0000"]


def test_what_a_target_owes_a_student_is_not_dismissed_and_the_remedy_is_told(site: Path) -> None:
    result = sesame("dead-letters", "dismiss", "cc1-0000-0000", "aa1-0000-0000", *REASON, "--yes")
    assert result.exit_code == 1
    assert f"sesame replay --consumer moodle --student {LEA}" in result.stderr
    assert len(open_letters(site)) == 4


@pytest.mark.parametrize(
    "words", [(), ("aa1-0000-0000", "--cause", "not_an_event"), ("--cause", "nothing_of_that_kind")]
)
def test_what_selects_nothing_or_too_much_is_wrong_usage(site: Path, words: tuple[str, ...]) -> None:
    assert sesame("dead-letters", "dismiss", *words, *REASON, "--yes").exit_code == 2
    assert len(open_letters(site)) == 4


def test_a_dry_run_and_a_no_dismiss_nothing(site: Path) -> None:
    words = ("dead-letters", "dismiss", "--cause", "not_an_event", *REASON)
    dry = sesame(*words, "--dry-run")
    assert (dry.exit_code, dry.stdout[:23]) == (0, "2 would be dismissed: m")
    assert CliRunner().invoke(main, words, input="n\n").exit_code != 0
    assert len(open_letters(site)) == 4
    assert ask(site, "SELECT * FROM audit") == []


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_replay_of_a_cause_that_does_not_exist_says_so_and_what_there_is(more: tuple[str, ...]) -> None:
    result = sesame("replay", "--consumer", "moodle", "--cause", "moodle_refused_value", *more)
    assert result.exit_code == 2
    assert "there is no cause 'moodle_refused_value'" in result.stderr
    assert "moodle_refused_values (1)" in result.stderr


@pytest.mark.parametrize("cause", ["identity_collision", "not_an_event"])
def test_a_replay_of_a_cause_that_selects_nobody_says_so(cause: str) -> None:
    result = sesame("replay", "--consumer", "moodle", "--cause", cause)
    assert result.exit_code == 2
    assert f"no dead letter of a student with the cause '{cause}'" in result.stderr
