"""A child process of the tests, which may be killed.

Run as `python -m sesame.testing.eventlog.child VERB OPENER URL ARGUMENTS`, it reports in lines of JSON on
stdout, each written whole and at once.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

from pipeline.eventlog.port import EventLog, NewRecord, Record

Open = Callable[[], EventLog]


def report(said: Any) -> None:
    """Tell the parent, past every buffer."""
    os.write(1, json.dumps(said).encode() + b"\n")


def append(open_log: Open, topic: str, start: int, seed: int) -> None:
    """Append batches without end; report the next number after each acknowledgement."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible sequence
    producer = open_log().producer()
    number = start
    while True:
        size = chance.randint(1, 40)
        batch = [
            NewRecord(topic, f"key-{n % 7}", str(n).encode() + b" " * chance.randint(0, 2_000))
            for n in range(number, number + size)
        ]
        producer.append(batch)
        number += size
        report(number)


def append_some(open_log: Open, topic: str, key: str, count: int, batch: int) -> None:
    """Wait for a line, then append `count` numbered records of one key, in batches."""
    log = open_log()
    producer = log.producer()
    report("ready")
    sys.stdin.readline()
    for first in range(0, count, batch):
        producer.append([NewRecord(topic, key, str(n).encode()) for n in range(first, first + batch)])
    producer.close()
    log.close()


def consume(open_log: Open, *, topic: str, group: str, member: str, commit: int, beyond: int) -> None:
    """Read and commit `commit` records, read `beyond` more, report all, then hang."""
    consumer = open_log().consumer(group, [topic], member=member)
    records: list[Record] = []
    while len(records) < commit:
        records += consumer.poll(commit - len(records), 0.1)
    consumer.commit({record.tp: record.offset + 1 for record in records})
    while len(records) < commit + beyond:
        records += consumer.poll(commit + beyond - len(records), 0.1)
    report([record.value.decode() for record in records])
    sys.stdin.readline()


def create(open_log: Open, topics: dict[str, int]) -> None:
    """Wait for a line, then open the log and create topics."""
    report("ready")
    sys.stdin.readline()
    log = open_log()
    log.ensure_topics(topics)
    log.close()


VERBS: dict[str, Callable[..., None]] = {
    "append": append,
    "append-some": append_some,
    "consume": consume,
    "create": create,
}

if __name__ == "__main__":
    _, verb, opener, url, arguments = sys.argv
    VERBS[verb](partial(resolve_name(opener), url), **json.loads(arguments))
