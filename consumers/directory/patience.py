"""A few attempts within a call, when the directory is busy or hangs up; and what is left of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from consumers.directory.answers import Busy, Code, LdapAnswer, Lost, judge, misconfigured
from consumers.directory.port import ApplyResult, EntryUnsettled
from pipeline.errors import TargetDown

T = TypeVar("T")

ATTEMPTS_MAX = 3
"""How often one student's work is tried within a call when the directory is busy or hangs up."""


class Patience:
    """Tries a few times.

    Args:
        sleep: waits between the attempts, in seconds.
    """

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep

    def settled(self, work: Callable[[], ApplyResult]) -> ApplyResult:
        """One student's work: what stays unsettled is this student's, not the directory's."""
        try:
            return self._retrying(work)
        except Busy as busy:
            return EntryUnsettled("directory_busy", str(busy))
        except Lost as lost:
            return EntryUnsettled("outcome_unknown", str(lost), unknown=True)

    def had(self, work: Callable[[], T]) -> T:
        """What does not depend on a student.

        Raises:
            TargetDown: a directory that cannot do it is down.
        """
        try:
            return self._retrying(work)
        except (Busy, Lost) as error:
            raise TargetDown(str(error)) from error

    def _retrying(self, work: Callable[[], T]) -> T:
        return Retrying(
            stop=stop_after_attempt(ATTEMPTS_MAX),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            retry=retry_if_exception_type((Busy, Lost)),
            sleep=self._sleep,
            reraise=True,
        )(work)


def expect_success(answer: LdapAnswer) -> None:
    """Raise for a search that failed: it concerns the branch and our rights, never a student.

    Raises:
        TargetDown: the directory is busy.
        Misconfigured: it refuses the consumer.
    """
    if answer.code != Code.SUCCESS:
        try:
            judge(answer)
        except Busy as busy:
            raise TargetDown(str(busy)) from busy
        raise misconfigured(answer.code)
