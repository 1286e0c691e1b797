"""`imports list` and `imports show`: what is told of past imports."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sesame.testing.servers.command import sesame
from sesame.testing.servers.registrar_kit import COLUMNS, Row, students

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def site(command_folder: Path) -> Path:
    """A folder in which three imports were made: one with a bad line, one held, one of no export."""
    export(*students(59), *students(1, ETA_IAE="?", COD_ETU="22699999"))
    assert sesame("import", "export.csv").exit_code == 3
    export(*students(60, ETA_IAE="A"))
    assert sesame("import", "export.csv").exit_code == 5
    Path("other.csv").write_text("A;B\n1;2\n", encoding="utf-8")
    assert sesame("import", "other.csv").exit_code == 1
    return command_folder


def export(*rows: Row) -> None:
    lines = [";".join(row[column] for column in COLUMNS) for row in rows]
    Path("export.csv").write_text("\n".join((";".join(COLUMNS), *lines, "")), encoding="utf-8")


def test_the_newest_import_comes_first_with_who_when_what_and_how_it_ended() -> None:
    found = json.loads(sesame("imports", "list", "--json").stdout)
    told = [(one["id"], one["actor"], one["file"], one["kind"], one["state"]) for one in found["imports"]]
    assert told == [
        (3, ME, "other.csv", "enrolments", "failed"),
        (2, ME, "export.csv", "enrolments", "held"),
        (1, ME, "export.csv", "enrolments", "done"),
    ]
    assert found["next"] is None
    done = found["imports"][2]
    assert (done["counts"]["recorded"], done["counts"]["rejected"]) == (59, 1)
    assert done["duration_s"] >= 0


def test_a_page_ends_with_where_the_next_one_begins() -> None:
    first = json.loads(sesame("imports", "list", "--limit", "2", "--json").stdout)
    assert ([one["id"] for one in first["imports"]], first["next"]) == ([3, 2], 2)
    rest = json.loads(sesame("imports", "list", "--after", "2", "--json").stdout)
    assert ([one["id"] for one in rest["imports"]], rest["next"]) == ([1], None)
    assert "add --after 2" in sesame("imports", "list", "--limit", "2").stderr


def test_a_table_says_it_in_the_language_asked_for() -> None:
    lines = sesame("--lang", "fr", "imports", "list").stdout.splitlines()
    assert ["échoué" in lines[1], "mis en attente" in lines[2], "terminé" in lines[3]] == [True] * 3
    assert ME in lines[1]


def test_a_held_import_shows_its_years_and_how_it_goes_on() -> None:
    shown = json.loads(sesame("imports", "show", "2", "--json").stdout)
    [year] = shown["years"]
    assert (year["known"], year["losing"], year["over_threshold"]) == (59, 59, True)
    text = sesame("imports", "show", "2").stdout
    assert f"--approve {shown['approval']}" in text
    assert "2026: 59 of 59 people affected, 59 of them lose something" in text
    assert shown["affected"] == str(Path("export.affected.csv"))
    approved = sesame("import", "export.csv", "--approve", shown["approval"])
    assert approved.exit_code == 0, "the id that is shown is the one that was told"


def test_an_import_shows_what_differs_and_the_one_before_it() -> None:
    first = json.loads(sesame("imports", "show", "1", "--json").stdout)
    assert first["differences"][0]["people"] == {"new": 59, "gone": 0, "changed": 0}
    assert first["before"] is None
    shown = json.loads(sesame("imports", "show", "2", "--json").stdout)
    assert shown["differences"][0]["programmes"] == {"L1INFO": {"new": 0, "gone": 59, "changed": 0}}
    assert shown["before"]["id"] == 1, "what was held, and what failed, is no file to compare with"
    text = sesame("imports", "show", "2").stdout
    assert "2026, people: 0 new, 59 gone, 0 changed" in text
    assert "the one before: import 1, export.csv" in text


def test_refused_lines_are_told_by_fault_and_with_their_file() -> None:
    shown = json.loads(sesame("imports", "show", "1", "--json").stdout)
    assert shown["faults"] == {"unknown_value": 1}
    text = sesame("imports", "show", "1").stdout
    assert "unknown_value: 1" in text
    assert "export.rejects.csv" in text


def test_a_failed_import_says_why() -> None:
    shown = json.loads(sesame("imports", "show", "3", "--json").stdout)
    assert shown["error"]
    assert shown["error"] in sesame("imports", "show", "3").stdout


def test_a_look_at_an_import_is_audited_and_a_list_is_not(site: Path) -> None:
    sesame("imports", "list")
    sesame("imports", "show", "1")
    with closing(sqlite3.connect(site / "data" / "sesame.db")) as store:
        looks = store.execute("SELECT actor, action, detail FROM audit WHERE action LIKE 'import.%'")
        assert looks.fetchall() == [(ME, "import.show", '{"import_id": 1}')]


def test_an_import_that_there_is_not_is_a_sentence() -> None:
    result = sesame("imports", "show", "99")
    assert result.exit_code == 1
    assert "There is no import of this id" in result.stderr


def test_an_import_of_an_older_release_tells_what_was_kept(site: Path) -> None:
    with closing(sqlite3.connect(site / "data" / "sesame.db")) as store, store:
        store.execute("UPDATE imports SET detail = NULL WHERE id < 3")
    old = json.loads(sesame("imports", "list", "--json").stdout)["imports"][1:]
    assert [(one["state"], one["actor"], one["kind"]) for one in old] == [
        ("held", None, None),
        ("done", None, None),
    ]
    assert sesame("imports", "show", "1").exit_code == 0
    assert sesame("imports", "list").exit_code == 0
