"""`sesame import` as an operator types it: exit codes, files beside the export, and who approved what."""

from __future__ import annotations

import getpass
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from examples.generate import write
from sesame.cli import main

STUDENTS = 120


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with settings, and an export of some students."""
    for name in [name for name in os.environ if name.upper().startswith("SESAME_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "sesame.toml").write_text('data_dir = "data"\n', encoding="utf-8")
    with Path("export.csv").open("w", encoding="utf-8", newline="") as file:
        write(file, students=STUDENTS, year=2026)
    return tmp_path


def sesame(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="sesame")


def change(edit: Callable[[str], str]) -> None:
    path = Path("export.csv")
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_file_that_cancels_most_people_ends_with_5_and_goes_on_once_approved(site: Path) -> None:
    assert sesame("import", "export.csv").exit_code == 3  # the example has bad lines
    change(lambda text: text.replace(";E;P;O\n", ";A;P;O\n"))

    result = sesame("import", "export.csv")
    assert result.exit_code == 5
    assert "nothing was published" in result.stderr
    assert str(Path("export.affected.csv")) in result.stderr
    approval = result.stderr.split("--approve ")[1].strip()

    wrong = sesame("import", "export.csv", "--approve", "0" * len(approval))
    assert wrong.exit_code == 5
    assert "for another file" in wrong.stderr
    approved = sesame("import", "export.csv", "--approve", approval, "--json")
    assert approved.exit_code == 3
    told = json.loads(approved.stdout)
    assert (told["held"], told["approval"]) == (False, approval)
    assert told["cancelled"] > STUDENTS / 2
    with sqlite3.connect(site / "data" / "sesame.db") as database:
        rows = database.execute("SELECT actor, action FROM audit").fetchall()
    database.close()
    assert rows == [(getpass.getuser(), "import.approve")]


def test_the_thresholds_are_settings(site: Path) -> None:
    sesame("import", "export.csv")
    change(lambda text: text.replace(";E;P;O\n", ";A;P;O\n"))
    (site / "sesame.toml").write_text('data_dir = "data"\n[registrar]\nguard_share = 1.0\n', encoding="utf-8")
    assert sesame("import", "export.csv", "--dry-run").exit_code == 3


def test_a_truncated_file_cancels_nobody_unless_it_is_said_to_be_complete() -> None:
    sesame("import", "export.csv")
    change(lambda text: text[: len(text) // 3].rpartition("\n")[0] + "\n")
    plain = sesame("import", "export.csv", "--json")
    assert plain.exit_code == 3
    assert json.loads(plain.stdout)["cancelled"] == 0
    full = sesame("import", "export.csv", "--full", "--year", "2026")
    assert full.exit_code == 5
    assert "over the threshold" in full.stdout


@pytest.mark.parametrize("options", [["--full"], ["--year", "2026"], ["--full", "--year", "26"]])
def test_a_full_file_is_full_for_one_year(options: list[str]) -> None:
    assert sesame("import", "export.csv", *options).exit_code == 2
