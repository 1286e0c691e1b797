"""Spans: an event's id is its trace, whenever and wherever its turns are taken; requests name no address."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.routing import Mount

from pipeline.target import Done, HandlerOutcome, Retry
from sesame.app.observability.tracing import Traces, place_of
from sesame.testing.servers.directory_kit import account
from sesame.testing.servers.target_kit import turn

EVENT = "00112233445566778899aabbccddeeff01234567"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter: InMemorySpanExporter) -> Traces:
    return Traces("host:1:a", SimpleSpanProcessor(exporter))


def ended(traces: Traces, outcome: HandlerOutcome, event_id: str = EVENT) -> None:
    """A turn of the student whom this event rang for."""
    traces.ended("moodle", outcome, turn(account("22600001"), event_id))


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def test_turns_of_an_event_are_in_one_trace_however_far_apart(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    ended(traces, Retry("moodle_busy", "22600001 was refused"))
    ended(traces, Done("sha256:0", changed=True))
    ended(traces, Done("sha256:0", changed=True), "f" * 40)
    refused, done, other = exporter.get_finished_spans()
    assert trace_of(refused) == trace_of(done) == EVENT[:32]
    assert trace_of(other) == "f" * 32
    assert len({each.context.span_id for each in (refused, done) if each.context}) == 2
    assert {f"{each.parent.span_id:016x}" for each in (refused, done) if each.parent} == {EVENT[24:]}
    assert refused.start_time == 1_000_500_000_000
    said = dict(refused.attributes or {})
    assert (said["sesame.outcome"], said["sesame.cause"]) == ("retry", "moodle_busy")
    assert not refused.status.is_ok
    assert "22600001" not in refused.to_json()


def test_an_id_of_another_form_has_a_trace_all_the_same() -> None:
    for event_id in ("resync-2026-09-01", "x", EVENT.upper()):
        place = place_of(event_id)
        assert place.is_valid
        assert (place.trace_id, place.span_id) == (place_of(event_id).trace_id, place_of(event_id).span_id)
        assert place.trace_id != place_of(EVENT).trace_id


def app() -> Any:
    inner = FastAPI()

    @inner.get("/personnes/{number}")
    def show(number: str) -> str:
        return number

    return Starlette(routes=[Mount("/console", inner)])


def test_a_request_has_its_route_and_who_asked_and_never_its_address(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(traces.around(app()))
        async with httpx.AsyncClient(transport=transport, base_url="http://sesame.example") as client:
            await client.get("/console/personnes/22600001?q=Durand", headers={"traceparent": CALLER})
            await client.get("/console/nowhere/22600001", headers={"traceparent": "00-junk"})
            await client.request("BREW", "/console/personnes/22600001")

    anyio.run(ask)
    found, missing, odd = exporter.get_finished_spans()
    assert found.name == "GET /console/personnes/{number}"
    assert dict(found.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/console/personnes/{number}",
    }
    [link] = found.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == tuple(CALLER.split("-")[1:3])
    assert (missing.name, missing.links) == ("GET", ())
    assert odd.name.startswith("_OTHER")
    for span in exporter.get_finished_spans():
        assert "22600001" not in span.to_json()
        assert "Durand" not in span.to_json()
