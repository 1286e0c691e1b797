"""The suite's shared tools: reads with a deadline, and processes to kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from pipeline.eventlog.port import Consumer, NewRecord, Record

PATIENCE_S = 240.0
"""How long a test waits for what must come: far beyond what a busy machine needs."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Call `condition`, which waits a little in each call, until it holds. Fail after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not the case: {what}"


def read(consumer: Consumer, count: int) -> list[Record]:
    """The next `count` records, and no more than those. Fail if they do not come in time."""
    records: list[Record] = []

    def enough() -> bool:
        records.extend(consumer.poll(count - len(records), 0.1))
        return len(records) == count

    until(enough, f"{count} records are read")
    return records


def own(consumer: Consumer) -> None:
    """Wait until the consumer has an assignment; nothing may be there to read."""

    def assigned() -> bool:
        assert consumer.poll(1, 0.1) == []
        return bool(consumer.assignment())

    until(assigned, "the consumer has an assignment")


def numbered(topic: str, key: str, count: int, *, start: int = 0) -> list[NewRecord]:
    return [NewRecord(topic, key, str(number).encode()) for number in range(start, start + count)]


def numbers(records: Iterable[Record], key: str) -> list[int]:
    return [int(record.value) for record in records if record.key == key]


class Child:
    """A process that works on the log and reports in lines of JSON (`child`).

    Leaving the `with` block kills it: SIGKILL, as a power cut would look to it.
    """

    def __init__(self, verb: str, opener: str, url: str, **arguments: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sesame.testing.eventlog.child", verb, opener, url, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def report(self) -> Any:
        """The next report; fail if the process ended without one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith(b"\n"), f"the other process ended ({self.process.wait(PATIENCE_S)})"
        return json.loads(line)

    def kill(self) -> list[Any]:
        """SIGKILL it; return its reports not read yet."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.stdout.closed:
            return []
        self.process.kill()
        said = self.process.stdout.read()
        self.process.wait(PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()
        return [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith(b"\n")]

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        assert self.process.wait(PATIENCE_S) == 0


def run_at_once(children: Sequence[Child], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Start all nearly at once, when each has reported ready; all must end well."""
    with ExitStack() as killing:
        for child in children:
            killing.enter_context(child)
            assert child.report() == "ready"
        for child in children:
            child.go()
        meanwhile()
        for child in children:
            child.finish()
