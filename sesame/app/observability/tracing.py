"""Traces by OpenTelemetry: the course of an event, and its causes. Off by default.

**The id of an event is its trace**: the first 32 of its digits; the last 16 are the span of its publication.
So nothing has to be carried along: headers of the log, rows of the outbox, parked students and facts that
wait have the id already, and a redelivery or a try hours later is found in the same trace. What led to an
event is a link, not a parent: no span lasts longer than one act, one call or one turn. See ADR 48.

What is exported, and where to, is set by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, …). No
span names a person: neither a number, nor a login, nor an address of a page.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumers.kit.connector import Connector
from pipeline.errors import of_extra
from pipeline.eventlog.port import NewRecord, Producer, TopicPartition
from pipeline.facts import Fact, FactHandler
from pipeline.runner import Observer
from pipeline.runner.announcement import Admitted
from pipeline.target import Dead, HandlerOutcome, Retry, Task, Waiting

with of_extra("tracing"):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.environment_variables import (
        OTEL_EXPORTER_OTLP_TIMEOUT,
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
    )
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags


EXPORT_S_MAX: Final = 3.0
"""A command's wait at its end for a collector; OpenTelemetry's variables win."""

_HEX_ID: Final = re.compile(r"[0-9a-f]{40}")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_READ, _READ_BACK = "read", "read back"
_WRITES: Final = ("apply", "close", "erase")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_Verb = TypeVar("_Verb", bound=Callable[..., Any])


def place_of(event_id: str) -> SpanContext:
    """The span in which an event was published."""
    digits = event_id if _HEX_ID.fullmatch(event_id) else hashlib.sha256(event_id.encode()).hexdigest()
    return SpanContext(int(digits[:32], 16), int(digits[24:40], 16), is_remote=True, trace_flags=_SAMPLED)


def _within(trace: SpanContext) -> SpanContext:
    """A new span in this trace."""
    return SpanContext(
        trace.trace_id, int(secrets.token_hex(8), 16) or 1, is_remote=False, trace_flags=_SAMPLED
    )


def _anew() -> SpanContext:
    """A new span in a new trace."""
    return _within(SpanContext(int(secrets.token_hex(16), 16) or 1, 1, is_remote=False))


@dataclass
class TracedAct:
    """A running act: the name and the attributes of its span."""

    name: str
    attributes: dict[str, str | int]


@dataclass
class _Call:
    """A running call of a target: its span, and whether it has written."""

    place: SpanContext
    written: bool = False


class Traces:
    """Records spans once they have ended; `processor` exports them in another thread. Thread-safe."""

    def __init__(self, process: str, processor: SpanProcessor) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "sesame"}
        self._resource = Resource.create({**named, SERVICE_INSTANCE_ID: process})
        self._processor = processor
        self._act: ContextVar[SpanContext | None] = ContextVar("act", default=None)
        self._call: ContextVar[_Call | None] = ContextVar("call", default=None)
        self._calls: dict[tuple[str, str], SpanContext] = {}  # by target and student, who has one place in it
        self._guard = threading.Lock()

    @classmethod
    def exported(cls, process: str) -> Traces:
        """They go where OpenTelemetry's variables say, by OTLP over HTTP."""
        said = any(
            name in os.environ for name in (OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT)
        )
        return cls(process, BatchSpanProcessor(OTLPSpanExporter(timeout=None if said else EXPORT_S_MAX)))

    def close(self) -> None:
        """Export what is left."""
        self._processor.shutdown()

    # --- roots of traces --------------------------------------------------------------------------------

    @contextmanager
    def act(self, name: str, caller: str = "") -> Iterator[TracedAct]:
        """A person's or program's act: a command, or a request. What is published meanwhile is linked to it.

        `caller`: the caller's header `traceparent` (W3C Trace Context), if there is one.
        """
        found = _TRACEPARENT.fullmatch(caller)
        links = [_context(*found.groups())] if found else []
        act, place, begun, failed = TracedAct(name, {}), _anew(), time.time_ns(), ""
        token = self._act.set(place)
        try:
            yield act
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            self._act.reset(token)
            self._record(act.name, place, begun, links=links, attributes=act.attributes, failed=failed)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: each request is an act."""
        return _TracedRequests(app, self)

    # --- what is handed on ------------------------------------------------------------------------------

    def producer(self, producer: Producer) -> Producer:
        """Wrap a producer: each published event has a span, linked to its cause."""
        return _TracedProducer(producer, self)

    def facts(self, handler: FactHandler) -> FactHandler:
        """Wrap a handler of facts: each applied fact has a span in its event's trace."""
        return _TracedFacts(handler, self)

    def verbs(self, target: str, connector: Any) -> None:
        """Give each verb of this connector a span within the call: read, write, read back."""
        for verb in (_READ, *_WRITES):
            setattr(connector, verb, self._timed(target, verb, getattr(connector, verb)))
        if type(connector).read_before is not Connector.read_before:  # which calls `read`
            connector.read_before = self._timed(target, _READ, connector.read_before)

    def observer(self, observer: Observer) -> Observer:
        """Wrap an observer: each student's turn has a span in its event's trace, linked to the call."""
        return _TracedObserver(observer, self)

    # --- what the wrappers say --------------------------------------------------------------------------

    def published(self, record: NewRecord, begun: int) -> None:
        """Record that an event was appended to the log."""
        headers = {name: value.decode() for name, value in record.headers if name.startswith("ce_")}
        if "ce_id" not in headers:
            return
        cause, act = headers.get("ce_causationid"), self._act.get()
        self._record(
            f"publish {headers['ce_type'].removeprefix('fr.sesame.')}",
            place_of(headers["ce_id"]),
            begun,
            links=[*([place_of(cause)] if cause else []), *([act] if act else [])],
            kind=SpanKind.PRODUCER,
            attributes={"messaging.destination.name": record.topic, "cloudevents.event_id": headers["ce_id"]},
        )

    def applied(self, consumer: str, event_id: str, begun: int, failed: str) -> None:
        """Record that a fact was applied, or refused."""
        parent = place_of(event_id)
        self._record(
            f"process {consumer}",
            _within(parent),
            begun,
            parent=parent,
            kind=SpanKind.CONSUMER,
            attributes={"sesame.consumer": consumer, "cloudevents.event_id": event_id},
            failed=failed,
        )

    @contextmanager
    def calling(self, target: str, tasks: Sequence[Task]) -> Iterator[None]:
        """Record a call of a target for these students."""
        call, begun, failed = _Call(_anew()), time.time_ns(), ""
        token = self._call.set(call)
        try:
            yield
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            self._call.reset(token)
            with self._guard:
                self._calls |= {(target, task.account.student_number): call.place for task in tasks}
            self._record(
                f"call {target}",
                call.place,
                begun,
                kind=SpanKind.CLIENT,
                attributes={"sesame.target": target, "sesame.students": len(tasks)},
                failed=failed,
            )

    def ended(self, target: str, outcome: HandlerOutcome, admitted: Admitted) -> None:
        """Record the end of a student's turn."""
        event_id = admitted.item.bell.event_id
        parent = place_of(event_id)
        with self._guard:
            call = self._calls.pop((target, admitted.account.student_number), None)
        why = ""
        if isinstance(outcome, Retry | Dead):
            why = outcome.cause
        elif isinstance(outcome, Waiting):
            why = outcome.reason
        self._record(
            f"process {target}",
            _within(parent),
            int(admitted.started_at * 1e9),
            parent=parent,
            links=[] if call is None else [call],
            kind=SpanKind.CONSUMER,
            attributes={
                "sesame.consumer": target,
                "sesame.lane": str(admitted.lane),
                "sesame.account_version": admitted.account.version,
                "sesame.attempt": admitted.attempt,
                "sesame.outcome": type(outcome).__name__.lower(),
                **({"sesame.cause": why} if why else {}),
                "cloudevents.event_id": event_id,
            },
            failed=why if isinstance(outcome, Retry | Dead) else "",
        )

    def _timed(self, target: str, verb: str, act: _Verb) -> _Verb:
        @wraps(act)
        def timed(*given: Any) -> Any:
            call, begun, failed = self._call.get(), time.time_ns(), ""
            try:
                return act(*given)
            except BaseException as error:
                failed = type(error).__name__
                raise
            finally:
                if call is not None:
                    name = _READ_BACK if verb == _READ and call.written else verb
                    call.written = call.written or verb in _WRITES
                    place = _within(call.place)
                    self._record(f"{target} {name}", place, begun, parent=call.place, failed=failed)

        return timed  # type: ignore[return-value]

    def _record(
        self,
        name: str,
        place: SpanContext,
        begun: int,
        *,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int] | None = None,
        failed: str = "",
    ) -> None:
        now = time.time_ns()
        self._processor.on_end(
            ReadableSpan(
                name,
                context=place,
                parent=parent,
                resource=self._resource,
                attributes=dict(attributes or {}),
                links=[Link(each) for each in links],
                kind=kind,
                status=Status(StatusCode.ERROR, failed) if failed else Status(StatusCode.UNSET),
                start_time=min(begun, now),
                end_time=now,
            )
        )


class _TracedProducer:
    def __init__(self, producer: Producer, traces: Traces) -> None:
        self._producer = producer
        self._traces = traces

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        begun = time.time_ns()
        appended = self._producer.append(records)
        for record in records:
            self._traces.published(record, begun)
        return appended

    def close(self) -> None:
        self._producer.close()


class _TracedFacts:
    def __init__(self, handler: FactHandler, traces: Traces) -> None:
        self._handler = handler
        self._traces = traces
        self.name = handler.name
        self.topics = handler.topics

    def handle(self, connection: Connection, facts: Sequence[Fact]) -> None:
        for fact in facts:  # one by one: each has its own time
            begun, failed = time.time_ns(), ""
            try:
                self._handler.handle(connection, [fact])
            except BaseException as error:
                failed = type(error).__name__
                raise
            finally:
                self._traces.applied(self.name, fact.message.id, begun, failed)

    def make_up_for_lost(self, connection: Connection) -> str:
        return self._handler.make_up_for_lost(connection)


class _TracedObserver:
    def __init__(self, observer: Observer, traces: Traces) -> None:
        self._observer = observer
        self._traces = traces
        self.batch, self.state = observer.batch, observer.state
        self.lag, self.trouble = observer.lag, observer.trouble

    def outcome(self, target: str, outcome: HandlerOutcome, admitted: Admitted) -> None:
        self._traces.ended(target, outcome, admitted)
        self._observer.outcome(target, outcome, admitted)


class _TracedRequests:
    """ASGI: a request's span has its route, not its address, which may hold secrets or numbers."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        with self._traces.act(method, caller) as act:
            act.attributes["http.request.method"] = method

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    act.attributes["http.response.status_code"] = message["status"]
                await send(message)

            try:
                await self._app(scope, receive, answer)
            finally:
                route = scope.get("route")
                if isinstance(route, Route):  # a `Mount` may stand there where none was found
                    act.attributes["http.route"] = f"{scope.get('root_path', '')}{route.path}"
                    act.name = f"{method} {act.attributes['http.route']}"


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_SAMPLED)
