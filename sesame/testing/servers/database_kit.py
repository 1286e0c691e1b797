"""Shared by the store's tests: a settable clock, processes on one database."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from pipeline.db.database import Database
from pipeline.timers import timers
from sandbox.process import PATIENCE_S

ONLY_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
"""For what is SQLite's own: its locks, its settings, its plans."""

ONLY_POSTGRESQL = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
"""For what needs two writers."""

START = 1_788_163_200.0  # 2026-08-31 08:00:00 UTC


@dataclass
class Clock:
    """A time that changes only when a test sets it. Seconds since the epoch, UTC."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def in_processes(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run `work(results, *arguments)` in one new process each, at once. Return all results."""
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


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Another thread that works until the end of the block; its error is raised there."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield thread
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert failures == []


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


def put(database: Database, number: str) -> None:
    """Store a row that needs no knowledge of the tables."""
    with database.write() as connection:
        connection.execute(insert(timers).values(kind="test", student_number=number, due_at=1.0))


def kept(database: Database) -> list[str]:
    """The students of the rows, the oldest first."""
    with database.read() as connection:
        return list(connection.scalars(select(timers.c.student_number).order_by(timers.c.id)))
