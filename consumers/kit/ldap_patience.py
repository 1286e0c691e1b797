"""An LDAP client that retries within a call when the server is busy or hangs up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from consumers.kit.connector import SLOW, TOO_SLOW, ConnectorContext, Refused
from consumers.kit.deadline import OutOfTime
from consumers.kit.ldap import Endpoint, Judge, LdapClient, Row, any_of
from consumers.kit.ldap_answers import Busy, Lost
from pipeline.errors import TargetDown

T = TypeVar("T")

_VALUES_PER_SEARCH: Final = 100


class PatientLdapClient(LdapClient):
    """Connections that try work `attempts_max` times per call. `sleep`: waits in between, in seconds."""

    def __init__(
        self,
        endpoint: Endpoint,
        judge: Judge,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        attempts_max: int = 3,
    ) -> None:
        super().__init__(endpoint, judge, monotonic=monotonic)
        self._sleep = sleep
        self._attempts_max = attempts_max

    def find(self, base: str, criterion: str, attributes: Sequence[str]) -> list[Row]:
        """The entries below a branch that meet a filter. Raises TargetDown, or as `Judge.reading_refused`."""
        return self.had(lambda: self.rows(base, criterion, attributes))

    def find_any(self, base: str, name: str, values: Sequence[str], attributes: Sequence[str]) -> list[Row]:
        """The entries with any of these values of an attribute; raises as `find`."""
        found: list[Row] = []
        for start in range(0, len(values), _VALUES_PER_SEARCH):
            criterion = any_of(name, values[start : start + _VALUES_PER_SEARCH])
            found += self.find(base, criterion, attributes)
        return found

    def everybody(
        self, base: str, criterion: str, attributes: Sequence[str], *, page_size: int
    ) -> Iterator[Row]:
        """As `find`, without a limit, page by page; a failure midway raises TargetDown."""
        try:
            for rows in self.pages(base, criterion, attributes, page_size=page_size):
                yield from rows
        except (Busy, Lost) as error:
            raise TargetDown(str(error), unknown=False) from error

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
            return Refused(self._judge.BUSY, str(busy), unknown=unanswered)
        except (Lost, OutOfTime) as error:
            if unanswered:
                return Refused("outcome_unknown", str(error), unknown=True)
            return Refused(SLOW, TOO_SLOW)
        raise AssertionError("the last attempt returns or raises")

    def had(self, work: Callable[[], T]) -> T:
        """Retry work that depends on no student. Raises TargetDown: the server still cannot do it."""
        try:
            return self._attempts()(work)
        except (Busy, Lost) as error:
            raise TargetDown(str(error)) from error

    def _attempts(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(self._attempts_max),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            retry=retry_if_exception_type((Busy, Lost)),
            sleep=self._sleep,
            reraise=True,
        )


def endpoint_of(context: ConnectorContext[Any], password: Callable[[], str]) -> Endpoint:
    """The server and the account of a connector's settings."""
    settings = context.settings
    return Endpoint(
        uri=settings.uri,
        bind_dn=settings.bind_dn,
        password=password,
        ca_file=settings.ca_file,
        connect_timeout_s=math.ceil(settings.connect_timeout_s),
        receive_timeout_s=math.ceil(settings.timeout_s),
        read_only=context.read_only,
    )
