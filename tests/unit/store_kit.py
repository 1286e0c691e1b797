"""What the tests of the store share: a clock that is told, and processes that use the same database."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection

from pipeline.db.database import Database
from sandbox.process import PATIENCE_S

ONLY_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what is SQLite's own: its locks, its settings, its plans."""

START = 1_788_163_200.0  # 2026-08-31 08:00:00 UTC


@dataclass
class Clock:
    """A time that stands still until it is moved. Seconds since the epoch, UTC."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def in_processes(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run `work(results, *arguments)` in one new process each, at once; what they put into `results`."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=work, args=(results, *each)) for each in arguments]
    for process in processes:
        process.start()
    found = [results.get(timeout=PATIENCE_S) for _ in processes]
    for process in processes:
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    return found


class _CutOffError(Exception):
    pass


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A transaction that fails at its end."""

    def cut_off() -> None:
        raise _CutOffError

    try:
        with database.write() as connection:
            yield connection
            cut_off()
    except _CutOffError:
        pass
