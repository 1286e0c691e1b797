"""What each command said when it was recorded, it says today: to people and to programs, word for word.

A change that is meant is recorded by `CORPUS=record pytest tests/cli`, and read in the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from sesame.cli import main
from tests.cli.cases import CASES, HELPS
from tests.cli.player import Case, play

CORPUS = Path(__file__).with_name("corpus")
RECORDING = os.environ.get("CORPUS") == "record"


@pytest.mark.parametrize("case", [*CASES, *HELPS], ids=lambda case: case.name)
def test_a_command_says_what_it_said(case: Case, tmp_path: Path) -> None:
    said, recorded = play(case, tmp_path), CORPUS / f"{case.name}.txt"
    if RECORDING:
        recorded.parent.mkdir(exist_ok=True)
        recorded.write_text(said, encoding="utf-8")
    assert said == recorded.read_text(encoding="utf-8")


def test_no_record_is_without_its_case_and_no_name_stands_twice() -> None:
    names = sorted(case.name for case in (*CASES, *HELPS))
    assert names == sorted(file.stem for file in CORPUS.iterdir())


def test_every_command_is_played() -> None:
    assert isinstance(main, click.Group)
    played = {words[0] for case in CASES for line in case.lines if (words := line.split())}
    assert set(main.list_commands(click.Context(main))) - played == set()
