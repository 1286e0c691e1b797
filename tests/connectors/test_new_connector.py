"""What `sesame connector new` writes passes at once, and is what the how-to page shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sesame.testing.connector.checks import CHECKS
from sesame.testing.servers.command import sesame
from tests.connectors.sample import TEMPLATE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["library", "parking_permits"])
def test_a_new_connector_passes_at_once(command_folder: Path, name: str) -> None:
    written = sesame("connector", "new", name)
    assert written.exit_code == 0, written.stderr
    folder = command_folder / f"sesame-{name}"
    assert written.stdout.split() == [
        f"sesame-{name}/{file}" for file in (f"{name}.py", f"test_{name}.py", "pyproject.toml")
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "refused or probe or second",
            folder,
        ],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
    assert len((folder / f"{name}.py").read_text(encoding="utf-8").split("\n\n")) > 10


def test_it_writes_nothing_over_anything(command_folder: Path) -> None:
    assert sesame("connector", "new", "library", "--folder", "mine").exit_code == 0
    before = (command_folder / "mine/library.py").stat().st_mtime_ns
    again = sesame("connector", "new", "library", "--folder", "mine")
    assert again.exit_code == 2
    assert "mine/library.py exists" in again.stderr
    assert (command_folder / "mine/library.py").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["Library", "json", "class", "timetable", "../x", ""])
def test_a_name_that_cannot_be_one_is_refused(command_folder: Path, name: str) -> None:
    refused = sesame("connector", "new", name)
    assert refused.exit_code == 2, refused.stderr
    assert list(command_folder.glob("sesame-*")) == []


def test_the_how_to_page_shows_what_is_written_in_eighty_lines_of_code() -> None:
    text = (TEMPLATE / "connector.txt").read_text(encoding="utf-8")
    page = (ROOT / "docs/how-to/write-a-connector.md").read_text(encoding="utf-8")
    assert f"```python\n{text}```\n" in page
    assert len([line for line in text.splitlines() if line.strip()]) <= 80
    assert len(CHECKS) >= 20


def test_an_unknown_connector_is_checked_by_nobody(command_folder: Path) -> None:
    refused = sesame("connector", "check", "libary")
    assert refused.exit_code == 2, refused.stderr
    assert "libary" in refused.stderr
