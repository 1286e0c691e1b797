"""Traces: what a collector is sent of an import, an activation and a request, and that no person is in it."""

from __future__ import annotations

import gzip
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import select

from pipeline.accounts import accounts
from sandbox.process import wait_until
from sesame.testing.servers.processes import ManySite

STUDENTS = 5


@dataclass
class Collector:
    """A collector on loopback, and what it was sent."""

    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Taking, self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> dict[tuple[str, str], Any]:
        """Every span, by trace and id."""
        found: dict[tuple[str, str], Any] = {}
        for body in self.requests:
            asked = ExportTraceServiceRequest.FromString(body)
            for resource in asked.resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                assert names["service.name"] == "sesame"
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    assert found.setdefault((span.trace_id.hex(), span.span_id.hex()), span) is span
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Taking(BaseHTTPRequestHandler):
    def __init__(self, collector: Collector, *given: Any) -> None:
        self._collector = collector
        super().__init__(*given)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self._collector.requests.append(body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with closing(Collector()) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.fixture
def site(tmp_path: Path, collector: Collector) -> Iterator[ManySite]:
    with closing(ManySite(tmp_path, f"sqlite:///{tmp_path / 'store.db'}")) as site:
        yield site


def attributes(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def linked(spans: dict[tuple[str, str], Any], span: Any) -> list[Any]:
    """The spans that a span names as what led to it."""
    return [spans[link.trace_id.hex(), link.span_id.hex()] for link in span.links]


def children(spans: dict[tuple[str, str], Any], span: Any) -> list[Any]:
    return [
        one
        for (trace, _), one in spans.items()
        if trace == span.trace_id.hex() and one.parent_span_id == span.span_id
    ]


def test_from_the_completion_back_to_the_import_each_span_leads_to_the_one_before(
    site: ManySite, collector: Collector
) -> None:
    run = site.start("run")
    site.enrol(STUDENTS)
    wait_until(lambda: site.accounts() == STUDENTS, "accounts")
    site.activate()
    wait_until(lambda: site.settled() == STUDENTS, "everybody to be settled")
    assert run.end(signal.SIGTERM, 30.0) == 0

    spans = collector.spans
    [done, *_] = [one for one in spans.values() if one.name == "publish propagation.completed.v1"]
    [provisioned] = linked(spans, done)
    assert provisioned.name == "publish target.provisioned.v1"
    assert [one.name for one in children(spans, provisioned)] == ["process propagation"]
    [changed] = linked(spans, provisioned)
    assert changed.name == "publish account.changed.v1"
    turns = [one for one in children(spans, changed) if one.name == "process moodle"]
    assert [attributes(one)["sesame.outcome"] for one in turns][-1] == "done"
    [call] = linked(spans, turns[-1])
    assert call.name == "call moodle"
    verbs = [one.name for one in children(spans, call)]
    assert (verbs[0], verbs[-1]) == ("moodle read", "moodle read back")
    assert "moodle apply" in verbs
    [asked] = linked(spans, changed)
    assert asked.name == "publish activation.requested.v1"
    [act] = linked(spans, asked)
    assert act.name == "sesame activate"
    first = [one for one in spans.values() if one.name == "publish enrolment.recorded.v1"]
    assert len(first) == STUDENTS
    assert {one.name for each in first for one in linked(spans, each)} == {"sesame import"}
    for one in spans.values():
        assert one.start_time_unix_nano <= one.end_time_unix_nano
    assert persons(site, b"".join(collector.requests)) == []


def persons(site: ManySite, sent: bytes) -> list[str]:
    """What of persons stands in what was sent."""
    with site.database.read() as connection:
        rows = connection.execute(select(accounts.c.student_number, accounts.c.login)).all()
    assert len(rows) == STUDENTS
    return [value for row in rows for value in row if value and value.encode() in sent]
