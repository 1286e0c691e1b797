"""The event log's adapters, as the suite meets them: each by a URL that any process can open."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.eventlog.kafka import Access, KafkaEventLog
from pipeline.eventlog.port import EventLog
from pipeline.eventlog.sqlite import SqliteEventLog
from sesame.testing.eventlog.adapter import SESSION_TIMEOUT_S, Adapter
from sesame.testing.servers.brokers import PATIENT
from tests.simulation.log import SimulatedLog

OPENER = f"{__name__}:open_log"


class Sqlite:
    """The embedded log, on a file of its own."""

    opener = OPENER
    lives = 4

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.url = f"sqlite:{request.getfixturevalue('tmp_path') / 'log.db'}"

    def stop(self) -> None:
        """Nothing runs."""


class Kafka:
    """Kafka: a cluster that the tests share, each with groups of its own."""

    opener = OPENER
    lives = 1  # what could be lost is the servers', not the process's

    def __init__(self, request: pytest.FixtureRequest) -> None:
        servers: list[str] = request.getfixturevalue("kafka_servers")
        self.url = f"kafka:{','.join(servers)}/test-{uuid4().hex[:8]}."

    def stop(self) -> None:
        """It is shared."""


class Simulated:
    """The simulation's log, so that what is shown on it counts. It lives in one process: tests that need
    another one (marked `processes`) are not for it."""

    opener = OPENER
    lives = 0

    def __init__(self, _request: pytest.FixtureRequest) -> None:
        self.url = f"simulated:{uuid4().hex}"

    def stop(self) -> None:
        """Forget it."""
        _SIMULATED.pop(self.url, None)


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Adapter]] = {
    "sqlite": Sqlite,
    "kafka": Kafka,
    "simulated": Simulated,
}

_SIMULATED: dict[str, SimulatedLog] = {}


def open_log(url: str) -> EventLog:
    """The log that `url` names, with a short session time-out."""
    kind, _, place = url.partition(":")
    if kind == "sqlite":
        return SqliteEventLog(Path(place), session_timeout_s=SESSION_TIMEOUT_S, busy_timeout_s=30)
    if kind == "kafka":
        servers, _, group_prefix = place.partition("/")
        timing = replace(PATIENT, session_timeout_s=SESSION_TIMEOUT_S, poll_interval_s_max=SESSION_TIMEOUT_S)
        access = Access(tuple(servers.split(",")), client_id="conformance", timing=timing)
        return KafkaEventLog(access, group_prefix=group_prefix)
    if kind == "simulated":
        return _SIMULATED.setdefault(
            url, SimulatedLog(clock=time.monotonic, wall=time.time, session_timeout_s=SESSION_TIMEOUT_S)
        )
    raise ValueError(f"no adapter of this name: {kind}")
