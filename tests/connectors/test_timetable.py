"""The timetable, which is only read, passes what the connectors' suite asks of reading."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers.timetable.connector import TimetableConnector
from sandbox.timetable import Timetable
from sesame.testing.connector.bench import ConnectorBench
from sesame.testing.connector.suite import *


@pytest.fixture(scope="module")
def timetable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timetable]:
    with Timetable(tmp_path_factory.mktemp("timetable"), everybody=True) as server:
        yield server


@pytest.fixture
def bench(timetable: Timetable) -> ConnectorBench:
    timetable.give("sonde")
    return ConnectorBench(
        TimetableConnector,
        lambda address: {
            "calendar_url": f"http://{address}/ical/{{login}}.ics",
            "probe_url": f"http://{address}/ical/sonde.ics",
        },
        f"127.0.0.1:{timetable.port}",
    )
