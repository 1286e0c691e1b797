"""A plain loop on kafka-python: read, decode, one result event each, commit.

python plain.py SERVERS TOPIC RESULTS GROUP MESSAGES
"""

import json
import sys
import time

from kafka import KafkaConsumer, KafkaProducer

servers, topic, results, group, messages = sys.argv[1:]
consumer = KafkaConsumer(
    topic,
    bootstrap_servers=servers.split(","),
    group_id=group,
    enable_auto_commit=False,
    auto_offset_reset="earliest",
    max_poll_records=500,
)
producer = KafkaProducer(bootstrap_servers=servers.split(","), acks="all", linger_ms=5)
done, begun, cpu = 0, 0.0, 0.0
while done < int(messages):
    polled = consumer.poll(timeout_ms=500)
    if not begun and polled:
        begun, cpu = time.perf_counter(), time.process_time()
    sent = []
    for records in polled.values():
        for record in records:
            message = json.loads(record.value)
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
