"""The fixtures of the suite's tests, made of the fixture `adapter`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from pipeline.eventlog.port import Consumer, EventLog, Producer
from sesame.testing.eventlog.adapter import Adapter, open_log

NewTopic = Callable[..., str]
Join = Callable[..., Consumer]


@pytest.fixture
def log(adapter: Adapter) -> Iterator[EventLog]:
    opened = open_log(adapter)
    yield opened
    opened.close()


@pytest.fixture
def producer(log: EventLog) -> Iterator[Producer]:
    made = log.producer()
    yield made
    made.close()


@pytest.fixture
def new_topic(log: EventLog) -> NewTopic:
    def create(partitions: int = 1) -> str:
        name = f"t-{uuid4().hex[:12]}"
        log.ensure_topics({name: partitions})
        return name

    return create


@pytest.fixture
def join(log: EventLog) -> Iterator[Join]:
    """Joins a consumer group; every consumer leaves at the end of the test."""
    with ExitStack() as leaving:

        def consumer(*topics: str, group: str = "directory", member: str = "one") -> Consumer:
            joined = log.consumer(group, topics, member=member)
            leaving.callback(joined.close)
            return joined

        yield consumer
