"""The audit: every act is in it, under the real user, and can be read."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
from pathlib import Path

import pytest
from click.testing import Result

from examples import generate
from sesame.cli import operator
from sesame.testing.servers.command import sesame

NUMBER = "22600001"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch, command_folder: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("SUDO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(operator, "LOGIN_UID", command_folder / "loginuid")  # nobody logged in
    return command_folder


def noted(site: Path) -> list[tuple[str, str, dict[str, object]]]:
    """What the store has, by a reader of its own."""
    with sqlite3.connect(site / "data" / "sesame.db") as database:
        rows = database.execute("SELECT actor, action, detail FROM audit ORDER BY id").fetchall()
        persons = database.execute("SELECT digest, student_number FROM audit_persons").fetchall()
    database.close()
    found = []
    for actor, action, detail in rows:
        said = detail
        for digest, number in persons:
            said = said.replace(f"person:{digest}", number)
        found.append((actor, action, json.loads(said)))
    return found


def hold(reason: str = "theft") -> Result:
    return sesame("hold", "place", NUMBER, "--reason", reason)


def test_the_actor_is_the_real_user_whatever_the_environment_says(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    assert hold().exit_code == 0
    assert [actor for actor, _, _ in noted(site)] == [ME]


def test_an_act_by_sudo_is_under_the_callers_name(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(pwd.getpwnam("nobody").pw_uid))
    monkeypatch.setenv("SUDO_USER", "mallory")
    assert hold().exit_code == 0
    assert [actor for actor, _, _ in noted(site)] == [f"nobody as {ME}"]


def test_who_logged_in_counts_more_than_what_the_environment_says_of_sudo(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "loginuid").write_text(str(pwd.getpwnam("nobody").pw_uid), encoding="ascii")
    monkeypatch.setenv("SUDO_UID", str(pwd.getpwnam("daemon").pw_uid))
    assert hold().exit_code == 0
    assert [actor for actor, _, _ in noted(site)] == [f"nobody as {ME}"]


@pytest.mark.parametrize("sudo", ["", "-1", "0x3e8", "²", "9" * 40, "root", str(os.getuid())])
def test_a_number_of_no_other_user_is_no_trouble(
    site: Path, monkeypatch: pytest.MonkeyPatch, sudo: str
) -> None:
    monkeypatch.setenv("SUDO_UID", sudo)
    assert hold().exit_code == 0
    (actor,) = [actor for actor, _, _ in noted(site)]
    assert actor == ME or actor.startswith("uid 999")


def test_a_user_without_a_name_can_give_commands(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 123_456)
    assert hold().exit_code == 0
    assert [actor for actor, _, _ in noted(site)] == ["uid 123456"]


def test_every_act_of_the_first_days_is_in_the_audit(site: Path) -> None:
    with (site / "export.csv").open("w", encoding="utf-8") as out:
        generate.write(out, students=3, year=2026)
    assert sesame("import", "export.csv").exit_code == 3  # the example has bad lines
    assert sesame("vault", "init").exit_code == 0
    assert sesame("activate", NUMBER, "22600002").exit_code == 0
    (site / "list.txt").write_text("22600003\n", encoding="utf-8")
    assert sesame("activate", "--from", "list.txt", "--republish").exit_code == 0
    assert sesame("provision", NUMBER).exit_code != 0  # no registry runs: there is no account yet
    sesame("import", "export.csv", "--dry-run")
    sesame("activate", "--all", "--dry-run")
    assert [(action, detail) for _, action, detail in noted(site)] == [
        ("import", {"file": "export.csv"}),
        ("activate", {"students": 2, "student_numbers": [NUMBER, "22600002"], "republish": False}),
        ("activate", {"students": 1, "student_numbers": ["22600003"], "file": "list.txt", "republish": True}),
        ("provision", {"student_number": NUMBER, "targets": ["directory", "mailbox", "moodle"]}),
    ]


def test_an_audit_that_was_changed_ends_with_a_code_of_its_own(site: Path) -> None:
    for reason in ("one", "two"):
        hold(reason)
    whole = sesame("audit", "verify", "--json")
    head = json.loads(whole.stdout)["head"]
    assert (whole.exit_code, json.loads(whole.stdout)["whole"]) == (0, True)
    assert sesame("audit", "verify", "--head", head).exit_code == 0
    with sqlite3.connect(site / "data" / "sesame.db") as database:
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("UPDATE audit SET actor = 'somebody' WHERE id = 1")
    database.close()
    broken = sesame("audit", "verify")
    assert broken.exit_code == 6
    assert "entry 1 was changed" in broken.stdout
    told = json.loads(sesame("audit", "verify", "--head", "0" * 63 + "1", "--json").stdout)
    assert told["breaks"] == [{"entry": 1, "kind": "changed"}, {"entry": 2, "kind": "head_gone"}]
