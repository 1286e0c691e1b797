"""Batches, and students who stand for all that a run asks of them."""

from __future__ import annotations

import queue
from dataclasses import dataclass

from pipeline.engine.bell import Batch, Bell, WorkItem
from pipeline.runner.batch_run import BatchRun, Probed, Runner
from pipeline.target import Done, HandlerOutcome
from sandbox.process import PATIENCE_S
from schemas.account import Lane

DONE = Done("sha256:0", changed=True)


@dataclass
class Student:
    """Stands for an admitted item, its task and its account at once."""

    student_number: str
    lane: Lane = Lane.PERSONAL
    decided: HandlerOutcome | None = None

    @property
    def task(self) -> Student:
        return self

    @property
    def account(self) -> Student:
        return self


def batch(index: int, *numbers: str, lane: Lane = Lane.PERSONAL) -> Batch:
    items = tuple(WorkItem((Bell(number, 1, lane, f"event-{number}"),)) for number in numbers)
    return Batch(index, lane, items)


class RunnerInThread:
    """A runner whose batches run in the test's thread, one after the other."""

    runner: Runner
    reports: queue.SimpleQueue[BatchRun | Probed]

    def brought(self, *batches: Batch) -> list[BatchRun]:
        for each in batches:
            self.runner.begin(each)
        self.runner.run_waiting()
        return [self.report() for _ in range(self.reports.qsize())]

    def report(self) -> BatchRun:
        """The next batch that has ended."""
        run = self.reports.get(timeout=PATIENCE_S)
        assert isinstance(run, BatchRun)
        return run
