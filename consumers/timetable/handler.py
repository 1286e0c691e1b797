"""The timetable target: accounts in, a look at each calendar, outcomes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from consumers.timetable.port import NotScheduled, Observed, Odd, Scheduled, Subject, Timetable
from pipeline.digest import digest_of
from pipeline.target import Dead, Description, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from schemas.account import Account

NOT_SCHEDULED: Final = "timetable_not_scheduled"
"""Reason of waiting: the service has no calendar for this student yet."""


class TimetableHandler:
    """`pipeline.target.Handler` for a timetable service.

    Args:
        port: closed with the handler.
        system: technology and server, for operators.
        batch_size: students in one call.
        work_s_max: no student is begun after this; those who are left are tried again.
        recheck_s: how often to look again at who is not scheduled yet.
        monotonic: seconds, for the limit above.
    """

    name = "timetable"

    def __init__(
        self,
        port: Timetable,
        *,
        system: str,
        batch_size: int,
        work_s_max: float,
        recheck_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._system = system
        self.batch_size = batch_size
        self._work_s_max = work_s_max
        self.call_s_max = work_s_max + 2 * port.verb_s_max  # the last student, and the probe
        self._recheck_s = recheck_s
        self._monotonic = monotonic

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`."""
        end = self._monotonic() + self._work_s_max
        outcomes: dict[str, HandlerOutcome] = {}
        doubted = False
        for task in tasks:
            account = task.account
            number = account.student_number
            if not account.access_open:
                outcomes[number] = _done(scheduled=False)  # whether it goes on is the service's own affair
            elif self._monotonic() >= end:
                outcomes[number] = Retry("timetable_slow", "the service is slow: no time was left")
            else:
                seen = self._port.read([subject_of(account)])[number]
                if isinstance(seen, Odd) and not doubted:
                    self._port.probe()  # if it answers everybody so, nobody is charged: this raises
                    doubted = True
                outcomes[number] = self._outcome(seen)
        return outcomes

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`: nothing is ever written; the obstacle is what the service answers."""
        return {account.student_number: self._preview(account) for account in accounts}

    def probe(self) -> None:
        """See `Handler.probe`."""
        self._port.probe()

    def describe(self) -> Description:
        """See `Handler.describe`: nothing is owned."""
        return Description(name=self.name, system=self._system, owns=())

    def close(self) -> None:
        """See `Handler.close`."""
        self._port.disconnect()

    def _preview(self, account: Account) -> Preview:
        if not account.access_open:
            return Preview()
        match self._port.read([subject_of(account)])[account.student_number]:
            case NotScheduled():
                return Preview(obstacle=NOT_SCHEDULED)
            case Odd(cause):
                return Preview(obstacle=cause)
            case Scheduled():
                return Preview()

    def _outcome(self, seen: Observed) -> HandlerOutcome:
        match seen:
            case Scheduled():
                return _done(scheduled=True)
            case NotScheduled():
                return Waiting(NOT_SCHEDULED, recheck_after_s=self._recheck_s)
            case Odd(cause, message, lasting=True):
                return Dead(cause, message)
            case Odd(cause, message):
                return Retry(cause, message)


def subject_of(account: Account) -> Subject:
    """Whose calendar it is."""
    return Subject(account.student_number, account.login, account.mail)


def _done(*, scheduled: bool) -> Done:
    """What was read back is that there is a calendar: what is in it changes daily, and is not ours."""
    return Done(digest=digest_of({"calendar": scheduled}), changed=False)
