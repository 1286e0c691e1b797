"""Connections to the directory, which is called again within a call when it is busy or hangs up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Self, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from consumers.directory import answers
from consumers.directory.settings import DirectorySettings
from consumers.kit.connector import SLOW, TOO_SLOW, ConnectorContext, Refused
from consumers.kit.deadline import OutOfTime
from consumers.kit.ldap import Endpoint, LdapClient, Row, any_of
from consumers.kit.ldap_answers import Busy, Code, LdapAnswer, Lost
from pipeline.errors import SesameError, TargetDown

T = TypeVar("T")

_VALUES_PER_SEARCH: Final = 100


class DirectoryClient(LdapClient):
    """Connections to the directory.

    Args:
        sleep: waits between the attempts within a call, in seconds.
    """

    attempts_max: ClassVar = 3
    """How often work is tried within a call when the directory is busy or hangs up."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(endpoint, monotonic=monotonic)
        self._sleep = sleep

    @classmethod
    def of(cls, context: ConnectorContext[DirectorySettings]) -> Self:
        """Those that the settings describe."""
        settings = context.settings
        endpoint = Endpoint(
            uri=settings.uri,
            bind_dn=settings.bind_dn,
            password=context.secret("bind_password"),
            ca_file=settings.ca_file,
            connect_timeout_s=math.ceil(settings.connect_timeout_s),
            receive_timeout_s=math.ceil(settings.timeout_s),
            read_only=context.read_only,
        )
        return cls(endpoint, monotonic=context.monotonic)

    def bind_refused(self, answer: LdapAnswer) -> SesameError:
        """See `LdapClient.bind_refused`."""
        return answers.bind_refused(answer)

    def reading_refused(self, answer: LdapAnswer) -> SesameError:
        """See `LdapClient.reading_refused`."""
        return answers.reading_refused(answer)

    def find(self, base: str, criterion: str, attributes: Sequence[str]) -> list[Row]:
        """The entries below a branch that meet a filter.

        Raises:
            TargetDown: the directory does not answer.
            Misconfigured: it refuses the consumer.
        """
        return self.had(lambda: self.rows(base, criterion, attributes))

    def find_any(self, base: str, name: str, values: Sequence[str], attributes: Sequence[str]) -> list[Row]:
        """Those that have any of these values of an attribute; raises as `find`."""
        found: list[Row] = []
        for start in range(0, len(values), _VALUES_PER_SEARCH):
            criterion = any_of(name, values[start : start + _VALUES_PER_SEARCH])
            found += self.find(base, criterion, attributes)
        return found

    def settled(self, work: Callable[[], Refused | None]) -> Refused | None:
        """Retry one student's work; what stays unsettled counts for this student only."""
        unanswered = False
        try:
            for attempt in self._attempts():
                with attempt:
                    try:
                        return work()
                    except Lost:
                        unanswered = True
                        raise
        except Busy as busy:
            return Refused("directory_busy", str(busy), unknown=unanswered)
        except (Lost, OutOfTime) as error:
            if unanswered:
                return Refused("outcome_unknown", str(error), unknown=True)
            return Refused(SLOW, TOO_SLOW)
        raise AssertionError("the last attempt returns or raises")

    def had(self, work: Callable[[], T]) -> T:
        """Retry work that depends on no student.

        Raises:
            TargetDown: a directory that cannot do it is down.
        """
        try:
            return self._attempts()(work)
        except (Busy, Lost) as error:
            raise TargetDown(str(error)) from error

    def _attempts(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(self.attempts_max),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            retry=retry_if_exception_type((Busy, Lost)),
            sleep=self._sleep,
            reraise=True,
        )


def changed(answer: LdapAnswer) -> Refused | None:
    """Why a write was refused; None: it was done.

    Raises:
        Busy, Misconfigured: as `answers.judge`.
    """
    return None if answer.code == Code.SUCCESS else answers.judge(answer)
