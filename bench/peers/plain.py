"""A plain loop on kafka-python: read, decode, handle, one result event each, commit.

python plain.py AT_ONCE LONGEST_S SERVERS TOPIC RESULTS GROUP MESSAGES
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from kafka import KafkaConsumer, KafkaProducer

at_once, longest, servers, topic, results, group, messages = sys.argv[1:]
consumer = KafkaConsumer(
    topic,
    bootstrap_servers=servers.split(","),
    group_id=group,
    enable_auto_commit=False,
    auto_offset_reset="earliest",
    max_poll_records=500,
)
producer = KafkaProducer(bootstrap_servers=servers.split(","), acks="all", linger_ms=5)
handlers = ThreadPoolExecutor(int(at_once)) if int(at_once) else None


def handle(message: dict[str, str]) -> None:
    """Take as long as `bench.beside.seconds_of` says."""
    time.sleep(int(message["id"]) * 7919 % 5001 / 5000 * float(longest))


done, begun, cpu = 0, 0.0, 0.0
while done < int(messages):
    polled = consumer.poll(timeout_ms=500)
    if not begun and polled:
        begun, cpu = time.perf_counter(), time.process_time()
    sent = []
    for records in polled.values():
        messages_of = [json.loads(record.value) for record in records]
        if handlers is not None:
            list(handlers.map(handle, messages_of))
        for record, message in zip(records, messages_of, strict=True):
            result = {
                "student_number": message["student_number"],
                "caused_by": message["id"],
                "state": "done",
            }
            sent.append(producer.send(results, key=record.key, value=json.dumps(result).encode()))
    producer.flush()
    for each in sent:
        each.get(timeout=30)
    if sent:
        consumer.commit()
        done += len(sent)
took = time.perf_counter() - begun
print(json.dumps({"seconds": took, "cpu_us": (time.process_time() - cpu) / done * 1e6}))
consumer.close()
producer.close()
