"""Says which recorded entries a test reproduces, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_Test = TypeVar("_Test", bound=Callable[..., Any])


def reproduces(*names: str) -> Callable[[_Test], _Test]:
    """Mark a test as the one that reproduces these entries."""

    def mark(test: _Test) -> _Test:
        test.__dict__["reproduces"] = names
        return test

    return mark


def reproduced_by(module: ModuleType) -> set[str]:
    """Return the names of the entries that the module's tests reproduce."""
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    return {name for test in tests for name in getattr(test, "reproduces", ())}
