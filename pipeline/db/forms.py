"""The store's forms, one per numbered migration file; the last is the current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"


def head() -> str:
    """The newest form that this version knows."""
    return max(_known())


def first() -> str:
    """The oldest form that this version can migrate."""
    return min(_known())


def _known() -> Iterator[str]:
    return (file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
