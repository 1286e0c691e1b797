"""A seed gives the same history whenever it is lived, and wherever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import store
from tests.simulation.history import Recipe, live

RECIPE = Recipe(3, events=50, students=6)


def test_a_seed_gives_the_same_history_again() -> None:
    assert live(RECIPE) == live(RECIPE)


def test_it_is_the_same_when_the_library_executes_every_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = live(Recipe(5))
    monkeypatch.setattr(store, "PLAIN", False)
    assert live(Recipe(5)) == plain


def test_another_seed_gives_another_history() -> None:
    assert live(RECIPE).digest != live(Recipe(4, events=50, students=6)).digest


def test_it_gives_the_same_in_another_process_whatever_python_makes_of_its_hashes() -> None:
    program = f"from tests.simulation.history import Recipe, live; print(live({RECIPE!r}).digest)"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": "."},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == live(RECIPE).digest


def test_what_is_left_out_does_not_happen() -> None:
    lived = live(Recipe(3, events=50, students=6, without=frozenset({"kill", "join"})))
    assert lived.violations == ()
    assert not {"kill", "join"} & lived.faults.keys()
