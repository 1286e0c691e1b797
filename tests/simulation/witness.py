"""Between a worker and a shipped handler: notes writes, and lets calls hang."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.errors import TargetDown
from pipeline.target import Description, Done, Handler, HandlerOutcome, Preview, Task, Waiting
from schemas.account import Account
from tests.simulation.targets.target import Target


class Witness:
    """See `pipeline.target.Handler`. `lease_s`: a call that hangs may return only after its lease is over."""

    def __init__(self, handler: Handler, target: Target, lease_s: float) -> None:
        self._handler = handler
        self._target = target
        self._lease_s = lease_s
        self.name = handler.name
        self.batch_size = handler.batch_size
        self.call_s_max = handler.call_s_max

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        target = self._target
        actor = target.schedule.current
        if actor is not None:
            actor.accounts = {task.account.student_number: task.account for task in tasks}
        for task in tasks:
            number = task.account.student_number
            if number in target.uncertain and not task.compare and not task.close_only:
                target.not_compared.append(f"{self.name}: {number} was in doubt, and not compared")
            target.begin(number)
            if number == target.poison:
                raise TargetDown("this one ends the connection", unknown=False)
        outcomes = self._handler.handle(tasks)
        for task in tasks:
            self._hear(task, outcomes.get(task.account.student_number))
        if target.weather.strikes("hang", 0.04):
            target.schedule.sleep(target.weather.chance.choice((0.5, self._lease_s + 2.0)))
        if target.weather.strikes("kill", 0.004):
            target.schedule.die()
        if target.weather.strikes("fault", 0.004):
            raise KeyError("a fault of our own")
        return outcomes

    def _hear(self, task: Task, outcome: HandlerOutcome | None) -> None:
        match outcome:
            case Done():
                self._target.said(task.account, None)
            case Waiting(reason, pending):
                self._target.said(task.account, (reason, tuple(sorted(pending))))
            case _:
                return
        if not task.close_only:
            self._target.unanswered.discard(task.account.student_number)

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        return self._handler.preview(accounts)

    def probe(self) -> None:
        self._handler.probe()

    def describe(self) -> Description:
        return self._handler.describe()

    def close(self) -> None:
        self._handler.close()
