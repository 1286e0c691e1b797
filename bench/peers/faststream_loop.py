"""FastStream: at least once for each message (`each`) or poll (`batch`).

python faststream_loop.py each|batch SERVERS TOPIC RESULTS GROUP MESSAGES
"""

import asyncio
import json
import logging
import sys
import time

from faststream import AckPolicy
from faststream.kafka import KafkaBroker

way, servers, topic, results, group, messages = sys.argv[1:]
LINGER_MS = {"each": 0, "batch": 5}  # one message at a time has nothing to wait for
broker = KafkaBroker(
    servers.split(","), acks="all", enable_idempotence=True, linger_ms=LINGER_MS[way], logger=None
)
finished = asyncio.Event()
state = {"done": 0, "begun": 0.0, "cpu": 0.0, "seconds": 0.0, "cpu_s": 0.0}


def began() -> None:
    """Start the clocks at the first message."""
    if not state["begun"]:
        state["begun"], state["cpu"] = time.perf_counter(), time.process_time()


def ended(count: int) -> None:
    """Count so many more as done."""
    state["done"] += count
    if state["done"] >= int(messages):
        state["seconds"] = time.perf_counter() - state["begun"]
        state["cpu_s"] = time.process_time() - state["cpu"]
        finished.set()


def result_of(message: dict[str, str]) -> bytes:
    """The result event."""
    number, caused_by = message["student_number"], message["id"]
    return json.dumps({"student_number": number, "caused_by": caused_by, "state": "done"}).encode()


if way == "each":

    @broker.subscriber(
        topic, group_id=group, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    async def each(message: dict) -> None:  # type: ignore[type-arg]
        """Handle one message."""
        began()
        await broker.publish(result_of(message), results, key=message["student_number"].encode())
        ended(1)

else:

    @broker.subscriber(
        topic,
        group_id=group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        batch=True,
        max_records=500,
    )
    async def some(batch: list[dict]) -> None:  # type: ignore[type-arg]
        """Handle the messages of a poll."""
        began()
        sent = [
            await broker.publish(
                result_of(message), results, key=message["student_number"].encode(), no_confirm=True
            )
            for message in batch
        ]
        await asyncio.gather(*sent)
        ended(len(batch))


async def main() -> None:
    """Run until all are done."""
    logging.disable()
    async with broker:
        await broker.start()
        await asyncio.wait_for(finished.wait(), 300)
    print(json.dumps({"seconds": state["seconds"], "cpu_us": state["cpu_s"] / state["done"] * 1e6}))


asyncio.run(main())
