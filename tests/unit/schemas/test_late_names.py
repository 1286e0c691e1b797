"""Rooms whose public names are loaded when they are first asked for."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
ROOMS: Final = sorted(
    ".".join(file.parent.relative_to(ROOT).parts)
    for room in ("schemas", "pipeline", "consumers", "producers", "sesame")
    for file in (ROOT / room).rglob("__init__.py")
    if "late_names(" in file.read_text(encoding="utf-8")
)


def imported(room: str) -> dict[str, str]:
    """What type checkers see: each name, and the module that it is imported from."""
    text = (ROOT / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    return {
        alias.name: node.module or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}.")
        for alias in node.names
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there_and_is_what_type_checkers_take_it_for(room: str) -> None:
    module, expected = importlib.import_module(room), imported(room)
    assert sorted(module.__all__) == sorted(expected)
    for name, place in expected.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), name), name


def test_a_name_that_is_not_there_is_missing_as_usual() -> None:
    assert "pipeline.engine" in ROOMS
    engine = importlib.import_module("pipeline.engine")
    assert engine.limits is importlib.import_module("pipeline.engine.limits")
    with pytest.raises(AttributeError, match="no attribute 'Wheel'"):
        _ = engine.Wheel
    assert not hasattr(engine, "__path_of_nobody__")
