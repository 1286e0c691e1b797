"""The shipped code's statements for the database are made once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.history import Recipe, live
from tests.simulation.statements import _KEPT, Statements


def test_next_to_no_statement_is_made_while_a_history_is_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of seven was, and cost a quarter of the history."""
    live(Recipe(3))
    known: list[bool] = []
    execute = Statements.execute

    def watched(self: Statements, statement: Any, parameters: Any = None, **options: Any) -> Any:
        known.append(isinstance(parameters, list) or _KEPT in statement.__dict__)
        return execute(self, statement, parameters, **options)

    monkeypatch.setattr(Statements, "execute", watched)
    live(Recipe(5))
    assert len(known) > 2000
    assert known.count(False) < 0.02 * len(known)
