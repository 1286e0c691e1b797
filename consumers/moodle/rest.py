"""Moodle's REST protocol: what every call is made of, and which are made again.

A call is a POST, form-encoded, with the token, the function and the format *first*: PHP keeps the first
`max_input_vars` variables and drops the rest, and whatever is dropped, these three must not be. JSON bodies
and the Authorization header are ignored by Moodle; in the query string the token would end up in access
logs.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from consumers.kit.connector import ConnectorContext, secret_of
from consumers.kit.deadline import Deadline
from consumers.kit.http import AnswerLost, HttpClient, HttpLimits
from consumers.kit.http_answers import ANY_STATUS
from consumers.moodle.answers import is_json, result_of
from consumers.moodle.errors import Broken, OutcomeUnknown, WriteRefused
from consumers.moodle.settings import MoodleSettings
from pipeline.errors import OutOfOrder, TargetDown

ATTEMPTS: Final = 3
"""To read, before the site is called down; to write while its database refuses, before the batch is split."""
RETRY_WAIT_S_MAX: Final = 2.0
"""The longest pause between two of them: a lock of the database lasts no longer."""
_BYTES_MAX: Final = 64_000_000  # the members of a hundred cohorts are some megabytes
_WAIT_S: Final = 0.2  # the ceiling of the first pause between attempts; doubled each time
_PIECES: Final = 64  # of a page that came instead of a large answer


class RestClient:
    """Calls functions of one Moodle site. Safe to share between threads.

    Args:
        context: the connector's.
        pause: waits that many seconds between two attempts.
        more: of `HttpClient`, for tests.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """

    def __init__(
        self,
        context: ConnectorContext[MoodleSettings],
        *,
        pause: Callable[[float], None] = time.sleep,
        **more: Any,
    ) -> None:
        self._settings = settings = context.settings
        self._token = context.secret("token")
        self._pause = pause
        self._http = HttpClient(
            replace(context, connections_max=settings.max_in_flight),
            service="Moodle",
            setting="base_url",
            limits=HttpLimits(settings.connect_timeout_s, settings.send_s, settings.timeout_s, _BYTES_MAX),
            pause=pause,
            **more,
        )

    def read(self, function: str, params: Mapping[str, Any], deadline: Deadline) -> Any:
        """Call a function that changes nothing; retry a lost answer, 502 or 503.

        Raises:
            MoodleRefused: Moodle refuses these parameters.
            OutOfTime: the deadline has passed.
            TargetDown, Throttled, Misconfigured: the site as a whole is away or refuses us.
        """
        attempts = self._attempts(_may_pass)
        try:
            return attempts(self._call, function, params, deadline, reads=True)
        except (OutcomeUnknown, Broken) as error:
            raise TargetDown(f"Moodle does not answer reads: {error}", unknown=False) from error

    def write(self, function: str, params: Mapping[str, Any], deadline: Deadline) -> Any:
        """Call a function that writes; never repeat it while its outcome is unknown.

        The deadline then records that. A write that the database refused, or that PHP never saw (503), is
        retried a few times, since nothing was committed.

        Raises:
            MoodleRefused, WriteRefused, Broken, OutcomeUnknown: see `errors.py`.
            OutOfTime, TargetDown, Throttled, Misconfigured: as `read` does.
            WriteForbidden: the site is only observed; nothing was sent.
        """
        attempts = self._attempts(_left_nothing)
        try:
            return attempts(self._call, function, params, deadline, reads=False)
        except OutcomeUnknown:
            deadline.unanswered = True
            raise
        except TargetDown as error:
            deadline.unanswered = deadline.unanswered or error.unknown
            raise

    @contextmanager
    def stream(self, function: str, params: Mapping[str, Any], deadline: Deadline) -> Iterator[Iterator[str]]:
        """Call a reading function with a very large answer; yield its JSON in pieces.

        Raises:
            as `read`, but nothing is retried.
        """
        form = self._form(function, params)
        with self._http.stream("POST", self._settings.endpoint, deadline, form=form) as (head, pieces):
            if head.status != HTTPStatus.OK or not is_json(head):
                result_of(replace(head, body=b"".join(islice(pieces, _PIECES))))
            yield codecs.iterdecode(pieces, "utf-8", errors="replace")

    def close(self) -> None:
        """Give the connections back."""
        self._http.disconnect()

    def _attempts(self, again: Callable[[BaseException], bool]) -> Retrying:
        """Retry with full jitter under a doubling ceiling.

        Concurrent writers that collided must not collide again.
        """
        return Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=_WAIT_S, max=RETRY_WAIT_S_MAX),
            retry=retry_if_exception(again),
            sleep=self._pause,
            reraise=True,
        )

    def _call(self, function: str, params: Mapping[str, Any], deadline: Deadline, *, reads: bool) -> Any:
        form = self._form(function, params)
        try:
            answer = self._http.call(
                "POST",
                self._settings.endpoint,
                deadline,
                form=form,
                reads=reads,
                again=False,
                expect=ANY_STATUS,
            )
        except AnswerLost as error:
            raise OutcomeUnknown(str(error)) from error
        return result_of(answer)

    def _form(self, function: str, params: Mapping[str, Any]) -> list[tuple[str, str]]:
        first = [
            ("wstoken", secret_of(self._token)),
            ("wsfunction", function),
            ("moodlewsrestformat", "json"),
        ]
        return first + list(flatten(params))


def _may_pass(error: BaseException) -> bool:
    """Whether the same read may succeed a moment later."""
    return isinstance(error, OutcomeUnknown | Broken | OutOfOrder)


def _left_nothing(error: BaseException) -> bool:
    """Whether a write is known to have left nothing, and may succeed a moment later."""
    return isinstance(error, WriteRefused) or (isinstance(error, OutOfOrder) and not error.unknown)


def flatten(params: Mapping[str, Any] | Sequence[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """PHP's form of nested values: `users[0][username]=…`. True is 1, False is 0."""
    pairs = params.items() if isinstance(params, Mapping) else enumerate(params)
    for key, value in pairs:
        name = f"{prefix}[{key}]" if prefix else str(key)
        if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
            yield from flatten(value, name)
        else:
            yield name, str(int(value)) if isinstance(value, bool) else str(value)
