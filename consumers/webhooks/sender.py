"""Send one receiver its events: in order per student, each at least once.

An event keeps one id. A receiver that is away, or wants fewer calls, is left alone for a while: no student's
attempts are charged, and its events wait in the store. An event that it does not take while it takes others
is retried over three days (Standard Webhooks' schedule), then it is a dead letter. 410 stops the sender until
an operator lifts the quarantine.

Sources: https://www.standardwebhooks.com (operational considerations); RFC 9110 (410, Retry-After).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from threading import Event
from typing import Any, Final, Protocol
from uuid import uuid4

from sqlalchemy import Connection

from consumers.kit.connector import ConnectorContext, Secret
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.http import AnswerLost, HttpAnswer, HttpClient, HttpLimits
from consumers.kit.http_answers import ANY_STATUS
from consumers.webhooks import rows, sender_of
from consumers.webhooks.endings import give_up, take
from consumers.webhooks.rows import WebhookEvent
from consumers.webhooks.security_events import MEDIA_TYPE, token_of, trial_token
from consumers.webhooks.settings import WebhookReceiver
from consumers.webhooks.signatures import WebhookKeyUnusable, sign
from pipeline import quarantine
from pipeline.db.database import Database, StoreUnavailable
from pipeline.errors import Misconfigured, SesameError, TargetDown, Throttled, meaning
from pipeline.errors import told as in_words
from pipeline.eventlog.port import TopicPartition
from pipeline.locks import LockHeld, SiteLocks
from pipeline.settings import SecretUnreadable

LOOK_EVERY_S: Final = 1.0
AGAIN_AFTER_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pause after each attempt of an event, in seconds."""

_COUNT_EVERY_S: Final = 5.0
_PAUSE_S: Final = 5.0
_PAUSE_S_MAX: Final = 600.0
_EVENTS_PER_BATCH: Final = 50
_BATCH_S: Final = 60.0
_LOCK_S: Final = 300.0  # longer than a batch takes, its last call included
_ANSWER_BYTES_MAX: Final = 65_536
_NOT_US: Final = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN))
_MAY_BE_ITS_OWN: Final = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY))
_EXPECTED: Final = frozenset(ANY_STATUS) - {
    *range(300, 400),
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Statuses judged here; the others concern the receiver as a whole, and the HTTP client judges them."""

_OF_TOKENS: Final = {"Content-Type": MEDIA_TYPE, "Accept": "application/json"}
TRIAL: Final = "fr.sesame.webhook.trial.v1"
"""The type of `send_trial`'s event alone."""

_TOKEN_ERRORS: Final = frozenset(
    (
        *("invalid_request", "invalid_key", "invalid_issuer", "invalid_audience"),
        *("authentication_failed", "access_denied"),
    )
)


class ReceiverGone(SesameError):
    """The receiver answers that it is gone for good (410). Ask whose it is; take it out of the settings, or
    let its sender go on with `sesame quarantine lift`."""


class SenderObserver(Protocol):
    """Observes senders, for metrics and logs. Must not raise."""

    def state(self, consumer: str, state: str, reason: str) -> None:
        """Observe the sender's present state."""

    def lag(self, consumer: str, lag: dict[TopicPartition, int]) -> None:
        """Observe how many events were not taken yet."""

    def trouble(self, consumer: str, what: str) -> None:
        """Observe a failure that will be retried or has become a dead letter."""


@dataclass(frozen=True)
class _Told:
    """One event's ending: taken, or refused for this reason."""

    event: WebhookEvent
    refusal: str = ""


TIMEOUT_S: Final = 15.0
"""Longest wait for an answer, as Standard Webhooks recommends: a receiver answers, then works."""


class Sender:
    """Sends to one receiver; of several processes, one at a time. Owned by the thread that calls `run`.

    Args:
        name: the receiver's.
        url: where events are sent.
        issuer: of tokens.
        clock: seconds since the epoch.
        monotonic: seconds.
        spread: a number between 0 and 1, for the jitter.
    """

    def __init__(
        self,
        name: str,
        receiver: WebhookReceiver,
        database: Database,
        observer: SenderObserver,
        *,
        url: str,
        timeout_s: float = TIMEOUT_S,
        issuer: str = "",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.name = sender_of(name)
        self._receiver_name = name
        self._url = url
        self._receiver = receiver
        self._as_token = receiver.form == "set"
        self._issuer = issuer
        self._audience = receiver.audience_of(name)
        self._database = database
        self._observer = observer
        self._clock = clock
        self._monotonic = monotonic
        self._spread = spread
        self._locks = SiteLocks(database)
        self._setting = f"webhooks.receivers.{name}"
        self._http = _client_of(name, receiver, timeout_s, monotonic)
        self._failures = 0  # of the receiver as a whole, one after the other
        self._resume_at = float("-inf")
        self._count_at = float("-inf")
        self._why: SesameError | None = None
        self._took_at = float("-inf")  # database time; known to this process only

    def run(self, stopping: Event) -> None:
        """Send until `stopping` is set."""
        try:
            while not stopping.wait(LOOK_EVERY_S):
                try:
                    while self.step(stopping):
                        pass
                except StoreUnavailable as error:
                    self._observer.trouble(self.name, str(error))
        finally:
            self._http.disconnect()

    def step(self, stopping: Event) -> bool:
        """Send some due events; True: there may be more. Raises StoreUnavailable: some are sent again."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            stopped = quarantine.of(connection, self.name)
            found = rows.due(connection, self._receiver_name, now, limit=_EVENTS_PER_BATCH)
            waiting = self._waiting(connection)
        if waiting is not None:
            self._observer.lag(self.name, {TopicPartition(topic, 0): n for topic, n in waiting.items()})
        if stopped is not None:
            self._observer.state(self.name, "quarantined", stopped.reason)
            return False
        if self._monotonic() >= self._resume_at and found:
            try:
                with self._locks.hold(self.name, ttl_s=_LOCK_S):
                    self._send(stopping)
            except LockHeld:
                return False  # another process sends
        self._say_how_it_is()
        return bool(found) and self._why is None and not stopping.is_set()

    def _waiting(self, connection: Connection) -> Mapping[str, int] | None:
        """How many events wait, by topic. None between counts, which take long when there are many."""
        now = self._monotonic()
        if now < self._count_at:
            return None
        self._count_at = now + _COUNT_EVERY_S
        return rows.waiting(connection, self._receiver_name)

    def _say_how_it_is(self) -> None:
        why = self._why
        if why is None:
            self._observer.state(self.name, "running", "")
        elif isinstance(why, Misconfigured | SecretUnreadable | WebhookKeyUnusable):
            self._observer.state(self.name, "misconfigured", in_words(why))
        else:
            self._observer.state(self.name, "throttled" if isinstance(why, Throttled) else "down", str(why))

    # --- one batch ------------------------------------------------------------------------------------

    def _send(self, stopping: Event) -> None:
        with self._database.read() as connection:  # read again: another process may have sent these
            now = self._database.now(connection)
            events = rows.due(connection, self._receiver_name, now, limit=_EVENTS_PER_BATCH)
        told: list[_Told] = []
        deadline = Deadline.after(_BATCH_S, self._monotonic)
        trouble: SesameError | None = None
        try:
            keys = self._receiver.keys(self._receiver_name)
            for event in events:
                if stopping.is_set():
                    break
                told.append(_Told(event, self._refusal(event, keys, deadline)))
        except OutOfTime:
            pass  # the others are next
        except (SecretUnreadable, WebhookKeyUnusable, ReceiverGone, Misconfigured, Throttled) as error:
            trouble = error
        except AnswerLost as error:  # it may be this event that it cannot bear: others are next
            trouble = error
            told.append(_Told(events[len(told)], str(error)))
        except TargetDown as error:
            trouble = error
        self._settle(trouble, took=any(not each.refusal for each in told))
        self._database.transact(partial(self._record, told, trouble))

    def _refusal(self, event: WebhookEvent, keys: list[str], deadline: Deadline) -> str:
        """The receiver's reason not to take this event; empty: it took it.

        Raises:
            ReceiverGone, TargetDown, Throttled, Misconfigured: it is about the receiver as a whole.
            WebhookKeyUnusable: nothing was sent.
        """
        body, headers = self._token(event, keys) if self._as_token else self._webhook(event, keys)
        answer = self._http.call("POST", self._url, deadline, content=body, headers=headers, expect=_EXPECTED)
        status = answer.status
        if answer.ok:
            return ""
        if status == HTTPStatus.GONE:
            raise ReceiverGone
        if status in _NOT_US:
            raise Misconfigured(
                f"the receiver refuses our signature ({status})",
                remedy=f"Compare the keys of {self._setting}.key_file with its own, and the clocks.",
            )
        if status in _MAY_BE_ITS_OWN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise AnswerLost(f"the receiver answers {status}", unknown=True)
        said = _error_of(answer) if self._as_token else ""
        if said and said != "invalid_request":  # RFC 8935, 2.4: it is about us, whatever the token
            raise Misconfigured(
                f"the receiver refuses our tokens: {said}",
                remedy=f"Compare {self._setting} with what it expects: issuer, audience, keys.",
            )
        return f"the receiver answers {status} {said}".rstrip()

    def _webhook(self, event: WebhookEvent, keys: list[str]) -> tuple[bytes, dict[str, str]]:
        return _signed(event.event_id, _body(event.type, event.happened_at, event.data), keys, self._clock())

    def _token(self, event: WebhookEvent, keys: list[str]) -> tuple[bytes, dict[str, str]]:
        """A token, sent by push (RFC 8935)."""
        token = token_of(event, keys[0], issuer=self._issuer, audience=self._audience, now=self._clock())
        return token.encode(), _OF_TOKENS

    def _settle(self, trouble: SesameError | None, *, took: bool) -> None:
        """Set the pause before the next attempt: longer after each failure. A success restarts it."""
        self._why = trouble
        self._failures = 0 if trouble is None else 1 if took else self._failures + 1
        if trouble is None:
            return
        pause_s = min(_PAUSE_S_MAX, _PAUSE_S * 2.0 ** min(self._failures - 1, 20))
        pause_s *= 0.5 + self._spread() / 2
        if isinstance(trouble, Throttled):
            pause_s = max(pause_s, trouble.retry_after_s)
        self._resume_at = self._monotonic() + pause_s

    def _record(self, told: Sequence[_Told], trouble: SesameError | None, connection: Connection) -> None:
        now = self._database.now(connection)
        for each in told:
            if each.refusal:
                self._refused(connection, each, now)
            else:
                self._took_at = now
                take(connection, each.event, now)
        if isinstance(trouble, ReceiverGone):
            quarantine.place(connection, self._database, self.name, meaning(ReceiverGone))

    def _refused(self, connection: Connection, told: _Told, now: float) -> None:
        event, attempts = told.event, told.event.attempts + 1
        well = event.failed_at is not None and self._took_at >= event.failed_at
        if attempts <= len(AGAIN_AFTER_S) or not well:
            after_s = AGAIN_AFTER_S[min(attempts, len(AGAIN_AFTER_S)) - 1] * (1 + self._spread() / 5)
            rows.put_off(connection, event, now=now, due_at=now + after_s)
            return
        give_up(connection, self._database, event, told.refusal, now)
        self._observer.trouble(self.name, f"given up: {told.refusal} to {event.type}")


def send_trial(
    name: str, receiver: WebhookReceiver, url: str, *, timeout_s: float = TIMEOUT_S, issuer: str, now: float
) -> int | None:
    """Send a test event, signed as the others. Return the answer's status, or None without one.

    Args:
        name: the receiver's.
        url, timeout_s, issuer: see `Sender`.
        now: seconds since the epoch.

    Raises:
        SecretUnreadable, WebhookKeyUnusable: nothing was sent.
    """
    keys, trial = receiver.keys(name), f"trial-{uuid4().hex}"
    if receiver.form == "set":
        token = trial_token(trial, keys[0], issuer=issuer, audience=receiver.audience_of(name), now=now)
        body, headers = token.encode(), _OF_TOKENS
    else:
        body, headers = _signed(trial, _body(TRIAL, now, "{}"), keys, now)
    http = _client_of(name, receiver, timeout_s, time.monotonic)
    try:
        deadline = Deadline.after(timeout_s, time.monotonic)
        return http.call("POST", url, deadline, content=body, headers=headers, expect=ANY_STATUS).status
    except (AnswerLost, Misconfigured, OutOfTime, TargetDown):
        return None
    finally:
        http.disconnect()


def _client_of(
    name: str, receiver: WebhookReceiver, timeout_s: float, monotonic: Callable[[], float]
) -> HttpClient:
    context: ConnectorContext[Any] = ConnectorContext(
        f"webhooks.receivers.{name}", receiver, _no_secret, connections_max=1, monotonic=monotonic
    )
    limits = HttpLimits(min(5.0, timeout_s), timeout_s, timeout_s, _ANSWER_BYTES_MAX)
    return HttpClient(context, service=f"the receiver {name}", limits=limits)


def _signed(name: str, body: bytes, keys: Sequence[str], now: float) -> tuple[bytes, dict[str, str]]:
    """A body, and the headers that sign it (Standard Webhooks)."""
    at = int(now)
    return body, {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(sign(key, name, at, body) for key in keys),
    }


def _body(event_type: str, happened_at: float, data: str) -> bytes:
    """The body, byte for byte the same each time, as the specification requires."""
    at = datetime.fromtimestamp(happened_at, UTC).isoformat().replace("+00:00", "Z")
    document = {"type": event_type, "timestamp": at, "data": json.loads(data)}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _error_of(answer: HttpAnswer) -> str:
    """The fault of a token, if it is one of the standard's words (RFC 8935, 2.3)."""
    try:
        said = json.loads(answer.body or b"{}").get("err", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return said if said in _TOKEN_ERRORS else ""


def _no_secret(name: str) -> Secret:
    raise KeyError(name)
