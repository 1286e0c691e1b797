"""Scaling of a consumer: 1, 2 and 4 worker processes on Kafka and PostgreSQL.

The target takes 5 ms a call, one student at a time, and nothing else, to measure whether twice as many
workers carry twice as many students, until the machine is full. Each worker is a member of one consumer group
with the whole order of effects, as shipped. The clock runs from the first bell until the last student is
done; joining the group, and a first round of students that warms everything up, are over by then.

Servers and workers share the machine's cores. When these are busy no further worker can help, and 0.8 of what
they allow is enough: the rate with all of their time, and as much of it for each student as was taken.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.plant import Nothing, account_of, bell, fill, migrated, numbers, ring, running, until
from bench.rows import Row, in_turn
from pipeline.db.database import Database
from pipeline.engine.bell import topics_for
from pipeline.engine.limits import EngineSettings
from pipeline.eventlog.kafka import Access, KafkaEventLog, Timing
from sandbox.kafka import Kafka
from sandbox.postgres import Postgres
from schemas import catalogue

STUDENT_S = 0.005
BATCH = 1
WORKERS = (1, 2, 4)
PARTITIONS = 8
STUDENTS = 1_500
WARM_UP = 64  # students a round: enough for each worker to have some, with 8 partitions
SLOTS = 1
WANTED = {2: 1.8, 4: 3.2}
SHARE_OF_CORES = 0.8
_SETTLED_S = 1.0


@contextmanager
def site() -> Iterator[tuple[Postgres, list[str]]]:
    """The servers, for as long as the block lasts."""
    with Postgres() as postgres, Kafka(quick=False) as kafka:
        yield postgres, kafka.servers


class Scaled(NamedTuple):
    """Students per second, and what the cores allow."""

    rate: float
    allowed: float


def throughput(
    postgres: Postgres, servers: Sequence[str], workers: int, students: int = STUDENTS, slots: int = SLOTS
) -> Scaled:
    """Measure so many workers, in a new database and consumer group."""
    name = f"scaling_{workers}_{time.monotonic_ns()}"
    url = postgres.create(name)
    context = multiprocessing.get_context("spawn")
    stop, done = context.Event(), [context.Value("i", 0) for _ in range(workers)]
    with ExitStack() as ended, migrated(url) as database:
        log = ended.enter_context(closing(kafka_log(servers, name)))
        log.ensure_topics(dict.fromkeys(catalogue.TOPICS, PARTITIONS))
        chosen = numbers(students + 100 * WARM_UP)
        fill(database, map(account_of, chosen))
        _begin_at_the_end(log)
        processes = [
            context.Process(target=_work, args=(url, list(servers), name, index, slots, done[index], stop))
            for index in range(workers)
        ]
        for process in processes:
            process.start()
        ended.callback(_end, processes, stop)
        rest = _warm_up(log, chosen, done)[:students]
        before = sum(each.value for each in done)
        records = [bell(number) for number in rest]
        begun, idle_s = time.perf_counter(), _idle_s()
        ring(log, records)
        _until_done(done, before + students)
        elapsed_s, idle_s = time.perf_counter() - begun, _idle_s() - idle_s
    postgres.drop(name)
    cores_s = elapsed_s * (os.cpu_count() or 1)
    rate = students / elapsed_s
    return Scaled(rate, rate * cores_s / max(cores_s - idle_s, elapsed_s * 0.01))


def _idle_s() -> float:
    """How long the cores have had nothing to do, together: see proc_stat(5)."""
    _cpu, _user, _nice, _system, idle, waiting, *_ = (
        Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=7)
    )
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")


def kafka_log(servers: Sequence[str], name: str) -> KafkaEventLog:
    """The log, with other consumer groups. Topics are shared, and read from where they end."""
    # A new server needs time to lead as many new partitions.
    timing = Timing(request_timeout_s=30.0, delivery_timeout_s=60.0)
    access = Access(tuple(servers), client_id="bench", timing=timing)
    return KafkaEventLog(access, group_prefix=f"{name}.")


def _begin_at_the_end(log: KafkaEventLog) -> None:
    """Let the group start after what earlier measurements have left on the topics."""
    topics = topics_for(None)
    ends = {tp: offset for topic in topics for tp, offset in log.end_offsets(topic).items()}
    with closing(log.consumer(Nothing.name, topics, member="bench")) as consumer:
        until(lambda: consumer.poll(0, 0.1) == [] and consumer.assignment().keys() == ends.keys())
        consumer.commit(ends)


def _warm_up(log: KafkaEventLog, chosen: list[str], done: Sequence[Synchronized[int]]) -> list[str]:
    """Ring for students in rounds until every worker has had one; return the others."""
    while True:
        some, chosen = chosen[:WARM_UP], chosen[WARM_UP:]
        before = sum(each.value for each in done)
        ring(log, map(bell, some))
        _until_done(done, before + WARM_UP)
        if all(each.value for each in done):
            time.sleep(_SETTLED_S)
            return chosen


def _until_done(done: Sequence[Synchronized[int]], students: int) -> None:
    until(lambda: sum(each.value for each in done) >= students)


def _end(processes: Sequence[multiprocessing.process.BaseProcess], stop: Event) -> None:
    stop.set()
    for process in processes:
        process.join(60.0)
        if process.is_alive():
            process.kill()


def _work(
    url: str, servers: list[str], name: str, index: int, slots: int, done: Synchronized[int], stop: Event
) -> None:
    """One worker, in a separate process."""
    handler = Nothing(BATCH, lambda tasks: time.sleep(STUDENT_S * len(tasks)))
    limits = EngineSettings(slots=max(slots, 2)).limits(batch_size=handler.batch_size)
    limits = limits.model_copy(update={"slots": slots, "slots_personal": 0})
    with (
        closing(Database(url)) as database,
        closing(kafka_log(servers, name)) as log,
        running(log, database, handler, limits, owner=f"worker-{index}"),
    ):
        while not stop.wait(0.01):
            done.value = handler.done


def rows(runs: int) -> Sequence[Row]:
    """Measure."""
    with site() as (postgres, servers):
        measures = {str(workers): partial(throughput, postgres, servers, workers) for workers in WORKERS}
        taken = in_turn(measures, runs)
    found = {name: Scaled._make(map(median, zip(*each, strict=True))) for name, each in taken.items()}
    call_ms = BATCH * STUDENT_S * 1000
    note = f"{SLOTS} call at once a worker, {call_ms:g} ms a call, {PARTITIONS} partitions"
    return [_row(workers, found[str(workers)], found["1"].rate, note) for workers in WORKERS]


def _row(workers: int, scaled: Scaled, alone: float, note: str) -> Row:
    name, allowed = f"scaling-{workers}-workers", {"the cores allow": scaled.allowed}
    if workers == 1:
        return Row(name, "students/s", scaled.rate, peers=allowed, note=note)
    return Row(
        name,
        "students/s",
        scaled.rate,
        limit=round(min(WANTED[workers], SHARE_OF_CORES * scaled.allowed / alone), 2),
        ratio=scaled.rate / alone,
        peers={"one worker": alone, **allowed},
        note=note,
    )


if __name__ == "__main__":
    for row in rows(1):
        print(row.name, row.ours, row.ratio)
