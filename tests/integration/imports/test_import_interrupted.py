"""Ctrl-C and SIGTERM in a real import: what it says, and that the same command goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.process import PATIENCE_S
from sesame.testing.servers.command import sesame
from sesame.testing.servers.registrar_kit import COLUMNS, students

STUDENTS = 4_000
IMPORT = ("import", "export.csv")


@pytest.fixture(autouse=True)
def site(command_folder: Path) -> Path:
    lines = [";".join(row[column] for column in COLUMNS) for row in students(STUDENTS)]
    Path("export.csv").write_text("\n".join((";".join(COLUMNS), *lines, "")), encoding="utf-8")
    return command_folder


def begun(*more: str) -> subprocess.Popen[str]:
    """An import in a process of its own, as a shell starts it in the foreground: one that it starts in the
    background ignores SIGINT, and so would every process below it, these tests' included."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "sesame", *IMPORT, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "LC_ALL": "C.UTF-8"},
    )


CONFIRMED = (
    "SELECT COUNT(*) FROM feed_rows JOIN imports ON imports.id = feed_rows.import_id"
    " WHERE feed_rows.sequence <= imports.confirmed_through"
)
LISTED = (
    "SELECT COUNT(*) FROM teaching_rows JOIN imports ON imports.id = teaching_rows.import_id"
    " WHERE teaching_rows.sequence <= imports.confirmed_through"
)
BEGUN = "SELECT COUNT(*) FROM imports WHERE confirmed_through > 0"


def counted(site: Path, query: str) -> int:
    """What the store counts, by a reader of its own."""
    try:
        with closing(sqlite3.connect(f"file:{site}/data/sesame.db?mode=ro", uri=True)) as store:
            return int(store.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0


def confirmed(site: Path) -> int:
    """How many facts the store knows to be on the log."""
    return counted(site, CONFIRMED)


def interrupted(
    site: Path, running: subprocess.Popen[str], by: signal.Signals, *, in_file: int = 1
) -> tuple[str, str]:
    """What it says on both outputs when the signal comes while it publishes its n-th file."""
    limit = time.monotonic() + PATIENCE_S
    while counted(site, BEGUN) < in_file:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < limit
    running.send_signal(by)
    out, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130, said
    return out, said


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_a_signal_ends_says_how_far_it_came_and_goes_on(
    site: Path, by: signal.Signals
) -> None:
    _, said = interrupted(site, begun(), by)
    found = re.search(rf"interrupted: (\d+) of {STUDENTS} changes were published", said)
    assert found, said
    published = int(found.group(1))
    assert 0 < published < STUDENTS
    known = confirmed(site)
    assert 0 <= published - known <= 500, "at most the last batch was not yet known to be on the log"
    assert "Import the same file again" in said
    assert "Traceback" not in said

    again = sesame(*IMPORT, "--json")
    assert again.exit_code == 0
    told = json.loads(again.stdout)
    assert told["recorded"] + told["unchanged"] == STUDENTS
    assert told["unchanged"] == known
    assert confirmed(site) == STUDENTS
    [second, first] = json.loads(sesame("imports", "list", "--json").stdout)["imports"]
    assert (first["state"], first["counts"]) == ("interrupted", {"published": published})
    assert (second["state"], second["counts"]["recorded"]) == ("done", told["recorded"])


def test_of_two_files_the_first_is_done_and_told_when_the_second_is_interrupted(site: Path) -> None:
    head = "COD_ETU;COD_ANU;COD_ELP;LIB_ELP;COD_GPE\n"
    units = [f"{row['COD_ETU']};2026;UE1;Algèbre;TD1\n" for row in students(STUDENTS)]
    Path("groups.csv").write_text(head + "".join(units), encoding="utf-8")
    both = ("--groups", "groups.csv")

    out, said = interrupted(site, begun(*both), signal.SIGINT, in_file=2)
    assert f"published: {STUDENTS} enrolments" in out, "the report of the first file"
    assert "list" not in out
    found = re.search(rf"interrupted: (\d+) of {STUDENTS} changes were published", said)
    assert found, said
    published = int(found.group(1))
    assert 0 < published < STUDENTS
    assert "Import the same file again" in said
    [second, first] = json.loads(sesame("imports", "list", "--json").stdout)["imports"]
    assert (first["kind"], first["state"], first["counts"]["recorded"]) == ("enrolments", "done", STUDENTS)
    assert (second["kind"], second["state"]) == ("teachings", "interrupted")
    assert second["counts"] == {"published": published}
    known = counted(site, LISTED)
    assert 0 <= published - known <= 500, "at most the last batch was not yet known to be on the log"

    again = sesame(*IMPORT, *both, "--json")
    assert again.exit_code == 0
    told = json.loads(again.stdout)
    assert (told["recorded"], told["unchanged"]) == (0, STUDENTS)
    groups = told["groups"]
    assert groups["recorded"] + groups["unchanged"] == STUDENTS
    assert groups["unchanged"] == known
    assert counted(site, LISTED) == STUDENTS
