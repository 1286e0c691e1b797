"""The rows `engine-lanes` and `handlers`: the engine without the store, and peers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.lanes import KEYS, RESULT, SOURCE, Drained, Message, drain, fill
from bench.rows import Row
from pipeline.engine.limits import Limits
from pipeline.eventlog.kafka import Access, KafkaEventLog, Timing
from pipeline.eventlog.port import EventLog, NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from sandbox.kafka import Kafka
from sandbox.process import MissingServer

MESSAGES, PARTITIONS, BATCH = 20_000, 4, 200
HANDLED, AT_ONCE, HANDLER_S_MAX = 10_000, (16, 100), 0.005
CPU_SHARE_MAX, SHARE_OF_IDEAL = 1.3, 1.25
_POLLED = 500
_ROOT = Path(__file__).resolve().parent
PEERS_PYTHON = _ROOT.parent / ".cache" / "bench-venv" / "bin" / "python"

LANES = Limits(batch_size=BATCH, linger_s=0.02, ahead=8, in_hand_max=20 * BATCH)


@dataclass(frozen=True)
class Took:
    """The cost of handling every message: seconds, and processor time per message."""

    seconds: float
    cpu_us: float


def plain_embedded(log: EventLog, messages: int, at_once: int, group: str) -> Took:
    """The plain loop on a log of ours: read, decode, handle so many at once, append the results, commit."""
    producer, done = log.producer(), 0
    with (
        closing(log.consumer(group, [SOURCE], member="bench")) as consumer,
        ThreadPoolExecutor(max(at_once, 1)) as handlers,
    ):
        begun, cpu = time.perf_counter(), time.process_time()
        while done < messages:
            records = consumer.poll(_POLLED, 0.5)
            results = []
            decoded = [json.loads(record.value) for record in records]
            if at_once:
                list(handlers.map(lambda message: time.sleep(_seconds(message["id"])), decoded))
            for record, message in zip(records, decoded, strict=True):
                number, caused_by = message["student_number"], message["id"]
                value = {"student_number": number, "caused_by": caused_by, "state": "done"}
                results.append(NewRecord(RESULT, record.key, json.dumps(value).encode()))
            if records:
                producer.append(results)
                consumer.commit({record.tp: record.offset + 1 for record in records})
                done += len(records)
        took = Took(time.perf_counter() - begun, (time.process_time() - cpu) / messages * 1e6)
    producer.close()
    return took


def peer(python: Path, program: str, share: int, servers: Sequence[str], messages: int, group: str) -> Took:
    """A peer's own program, in its own environment.

    Args:
        program: a file of `bench/peers`, and its first words.
        share: handle only one in so many messages, where all would take minutes; the seconds are for all.
    """
    file, *words = program.split()
    arguments = [*words, ",".join(servers), SOURCE, RESULT, group, str(messages // share)]
    ended = subprocess.run(
        [str(python), str(_ROOT / "peers" / file), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{program}: {ended.stderr[-2000:]}")
    took = json.loads(ended.stdout.splitlines()[-1])
    return Took(took["seconds"] * share, took["cpu_us"])


def seconds_of(tasks: Sequence[Message]) -> float:
    """0 to 5 ms for each message, also where several of a key share a call."""
    return sum(_seconds(bell.event_id) for task in tasks for bell in task.item.bells)


def _seconds(message_id: str) -> float:
    return int(message_id) * 7919 % 5001 / 5000 * HANDLER_S_MAX


# --- the rows -------------------------------------------------------------------------------------------


@contextmanager
def embedded_log(messages: int, partitions: int) -> Iterator[EventLog]:
    """The embedded log with that many messages."""
    with (
        TemporaryDirectory(prefix="sesame-bench-") as name,
        closing(SqliteEventLog(Path(name) / "log.db")) as log,
    ):
        fill(log, messages, partitions=partitions)
        yield log


@contextmanager
def kafka_log(messages: int, partitions: int) -> Iterator[tuple[EventLog, list[str]]]:
    """A real Kafka with that many messages."""
    with Kafka(quick=False) as kafka:
        access = Access(tuple(kafka.servers), client_id="bench", timing=Timing())
        with closing(KafkaEventLog(access, group_prefix="bench.")) as log:
            fill(log, messages, partitions=partitions)
            yield log, list(kafka.servers)


Way = Callable[[str], Took | Drained]


def in_turn(ways: Mapping[str, Way], runs: int) -> dict[str, list[Took | Drained]]:
    """Run every way in turn, each in a new group. One that had read the log would wait without end."""
    found: dict[str, list[Took | Drained]] = {name: [] for name in ways}
    for run in range(runs):
        for name, way in ways.items():
            group = re.sub(r"[^a-z0-9]+", "-", name.lower())
            found[name].append(way(f"{group}-{run}"))
    return found


def ours(log: EventLog, messages: int, limits: Limits, *, slow: bool, group: str) -> Drained:
    """The engine, on a store without parked students."""
    with TemporaryDirectory(prefix="sesame-bench-") as name:
        if slow:
            return drain(log, Path(name), messages, limits, group=group, seconds=seconds_of)
        return drain(log, Path(name), messages, limits, group=group)


def lanes_rows(name: str, log: EventLog, others: Mapping[str, Way], runs: int, *, bounded: bool) -> list[Row]:
    """Messages a second, and processor time; `others` begins with the plain loop."""
    mine = partial(_ours_by_group, log, MESSAGES, LANES, slow=False)
    found = in_turn({"ours": mine, **others}, runs)
    rate = {way: median(MESSAGES / each.seconds for each in took) for way, took in found.items()}
    cpu = {way: median(each.cpu_us for each in took) for way, took in found.items()}
    note = (
        f"{MESSAGES:,} messages of {KEYS:,} keys, {PARTITIONS} partitions, calls of {BATCH} that do nothing; "
        "the ratio is to the plain loop, bounded where its log is Kafka"
    )
    return [
        Row(
            f"engine-lanes-{name}",
            "messages/s",
            rate["ours"],
            limit=1.0 if bounded else None,
            ratio=rate["ours"] / rate["the plain loop"],
            peers={way: value for way, value in rate.items() if way != "ours"},
            note=note,
        ),
        Row(
            f"engine-lanes-{name}-cpu",
            "µs/message",
            cpu["ours"],
            limit=CPU_SHARE_MAX if bounded else None,
            compared="at most",
            ratio=cpu["ours"] / cpu["the plain loop"],
            peers={way: value for way, value in cpu.items() if way != "ours"},
            note=note,
        ),
    ]


def _ours_by_group(log: EventLog, messages: int, limits: Limits, group: str, *, slow: bool) -> Drained:
    return ours(log, messages, limits, slow=slow, group=group)


def lanes(runs: int) -> Sequence[Row]:
    """Measure the engine on both logs."""
    with embedded_log(MESSAGES, PARTITIONS) as log:
        plain: Way = partial(plain_embedded, log, MESSAGES, 0)
        found = lanes_rows("embedded", log, {"the plain loop": plain}, runs, bounded=False)
    try:
        with kafka_log(MESSAGES, PARTITIONS) as (log, servers):
            programs = {"the plain loop": (Path(sys.executable), "plain.py 0 0", 1)}
            if PEERS_PYTHON.exists():
                programs |= {
                    "FastStream, each message": (PEERS_PYTHON, "faststream_loop.py each", 20),
                    "FastStream, batches": (PEERS_PYTHON, "faststream_loop.py batch", 1),
                    "Quix Streams": (PEERS_PYTHON, "quix_loop.py", 1),
                }
            else:
                print("engine-lanes-kafka: no peers: `scripts/setup-bench` failed", file=sys.stderr)
            ways = {name: partial(peer, *program, servers, MESSAGES) for name, program in programs.items()}
            found += lanes_rows("kafka", log, ways, runs, bounded=True)
    except MissingServer as missing:
        print(f"engine-lanes-kafka: left out: {missing}", file=sys.stderr)
    return found


def handlers_rows(
    name: str, log: EventLog, plain: Callable[[int], Way], runs: int, *, bounded: bool
) -> list[Row]:
    """Seconds until all is done, with handlers of 0 to 5 ms. `plain`: the loop with so many at once."""
    work_s = sum(_seconds(f"{index}") for index in range(HANDLED))
    found = []
    for at_once in AT_ONCE:
        limits = Limits(
            batch_size=1, linger_s=0.0, slots=at_once, ahead=2 * at_once, in_hand_max=100 * at_once
        )
        mine = partial(_ours_by_group, log, HANDLED, limits, slow=True)
        took = in_turn({f"ours {at_once}": mine, f"plain {at_once}": plain(at_once)}, runs)
        seconds = median(each.seconds for each in took[f"ours {at_once}"])
        plain_s = median(each.seconds for each in took[f"plain {at_once}"])
        found.append(
            Row(
                f"handlers-{at_once}-at-once-{name}",
                "s",
                seconds,
                limit=SHARE_OF_IDEAL if bounded else None,
                compared="at most",
                ratio=seconds / max(work_s / at_once, plain_s),
                peers={"the ideal": work_s / at_once, "the plain loop": plain_s},
                note=f"{HANDLED:,} messages of {KEYS:,} keys on one partition; what waits for one key is "
                "one call, as long as its messages together; the ratio is to the slower of the two",
            )
        )
    return found


def handlers(runs: int) -> Sequence[Row]:
    """Measure handlers on both logs. The bound is for the broker that the plain loop reads too."""
    with embedded_log(HANDLED, 1) as log:
        embedded = partial(partial, plain_embedded, log, HANDLED)
        found = handlers_rows("embedded", log, embedded, runs, bounded=False)
    try:
        with kafka_log(HANDLED, 1) as (log, servers):

            def plain(at_once: int) -> Way:
                program = f"plain.py {at_once} {HANDLER_S_MAX}"
                return partial(peer, Path(sys.executable), program, 1, servers, HANDLED)

            found += handlers_rows("kafka", log, plain, runs, bounded=True)
    except MissingServer as missing:
        print(f"handlers-kafka: left out: {missing}", file=sys.stderr)
    return found
