"""The Kafka that the tests share, in clear.

It comes from the first of these: the addresses in `TEST_KAFKA_SERVERS` (`host:port,…`, of a cluster made for
tests: topics and groups come and go there), a container if `TEST_CONTAINERS=1`, the sandbox's own from Maven
Central's jars, a container where Docker is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.eventlog.kafka import Timing
from sandbox.kafka import Kafka
from sandbox.process import PATIENCE_S, MissingServer
from sesame.testing.servers import containers

ADDRESS = "TEST_KAFKA_SERVERS"

PATIENT = Timing(request_timeout_s=PATIENCE_S, delivery_timeout_s=2 * PATIENCE_S)
"""For a test's own clients, unless it is about time-outs."""


@contextmanager
def servers() -> Iterator[list[str]]:
    """Its addresses, for as long as the tests run. Raises `MissingServer`: no address, Java or Docker."""
    if address := os.environ.get(ADDRESS):
        yield address.split(",")
        return
    if containers.asked():
        with containers.kafka() as addresses:
            yield addresses
        return
    try:
        own = Kafka()
    except MissingServer as missing:
        try:
            with containers.kafka() as addresses:
                yield addresses
        except containers.NoDocker:
            raise missing from None
        return
    with own:
        yield own.servers
