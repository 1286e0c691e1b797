"""Append to Kafka: idempotent, acknowledged by all in-sync replicas, in batches.

A failed append leaves nothing behind that could still be sent: the library's own attempts end before it does,
and a client that failed is replaced, so that no late attempt comes after a newer record. What the system has
buffered for the network is thrown away with the connection.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from kafka import KafkaProducer
from kafka import errors as e
from kafka.partitioner import Partitioner, murmur2

from pipeline.eventlog.kafka import workarounds
from pipeline.eventlog.kafka.access import LIBRARY, Access
from pipeline.eventlog.kafka.topics import Topics
from pipeline.eventlog.port import RECORD_BYTES_MAX, LogError, NewRecord, RecordTooLarge, TopicPartition

_BATCH_BYTES = 256_000
_AROUND_VALUE_BYTES_MAX = 32_000  # key and headers: with the largest value they still fit into a request
_REQUEST_BYTES_MAX = RECORD_BYTES_MAX + 2 * _AROUND_VALUE_BYTES_MAX
_SLACK_S = 2.0
_SOCKET_OPTIONS = [
    *KafkaProducer.DEFAULT_CONFIG["socket_options"],
    # A closed connection is reset. Else the system sends for minutes what was given up.
    (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
]
_KEYS_REMEMBERED = 65_536


class Remembering(Partitioner):  # type: ignore[misc]  # the library has no types
    """Kafka's default partitioner with a cache: its hash is pure Python."""

    def partition(
        self, topic: str, _key: Any, serialized_key: bytes, _value: Any, _serialized_value: Any, cluster: Any
    ) -> int:
        """See `kafka.partitioner.Partitioner`."""
        partitions = sorted(cluster.partitions_for_topic(topic))
        return int(partitions[_hash(serialized_key) % len(partitions)])


@lru_cache(_KEYS_REMEMBERED)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFF_FFFF


class KafkaLogProducer:
    """Appends records. Thread-safe."""

    def __init__(self, access: Access, topics: Topics) -> None:
        self._access = access
        self._topics = topics
        self._lock = threading.Lock()
        self._client: KafkaProducer | None = None
        with self._lock:
            self._client = self._connect()

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        """See `pipeline.eventlog.port.Producer`.

        Raises:
            NotAllowed: records of other topics in the batch may have been appended; append again.
        """
        for record in records:
            _check_size(record)
        if not records:
            return []
        self._topics.partitions(record.topic for record in records)
        client = self._usable()
        try:
            return self._send(client, records)
        except LogError:  # of any kind: an idempotent client does not recover from a failed batch
            self._retire(client)
            self._topics.forget(record.topic for record in records)
            raise

    def close(self) -> None:
        """See `pipeline.eventlog.port.Producer`."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            workarounds.end(client, _SLACK_S)

    def _send(self, client: KafkaProducer, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        topics = ", ".join(sorted({record.topic for record in records}))
        futures: list[Any] = []
        with self._access.explained(f"appending to {topics}"):
            fault: Exception | None = None
            for record in records:
                try:
                    headers = list(record.headers)
                    futures.append(client.send(record.topic, record.value, record.key.encode(), headers))
                except LIBRARY as error:
                    fault = error
                    break
                except (TypeError, ValueError):  # the topic has left what the library knows of the cluster
                    fault = e.LeaderNotAvailableError([record.topic])
                    break
            give_up_at = time.monotonic() + self._access.timing.delivery_timeout_s + _SLACK_S
            placed = []
            for future in futures:  # to the last one: nothing may still be under way when this returns
                try:
                    # Most are done when the first one is, since they share a batch: that is cheaper to ask.
                    done = future.is_done and not future.failed()
                    sent = future.value if done else future.get(max(0.0, give_up_at - time.monotonic()))
                    placed.append((TopicPartition(sent.topic, sent.partition), int(sent.offset)))
                except LIBRARY as error:
                    fault = fault or error
            if fault is not None:
                raise fault
        return placed

    def _usable(self) -> KafkaProducer:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _retire(self, client: KafkaProducer) -> None:
        with self._lock:
            if self._client is client:
                self._client = None
        workarounds.end(client, _SLACK_S)

    def _connect(self) -> KafkaProducer:
        timing = self._access.timing
        self._access.check()
        with self._access.explained("joining as a producer"):
            return workarounds.connected(
                KafkaProducer,
                **self._access.configuration(),
                acks="all",
                enable_idempotence=True,
                retries=float("inf"),  # within the delivery's time
                delivery_timeout_ms=round(timing.delivery_timeout_s * 1000),
                max_block_ms=round(timing.request_timeout_s * 1000),
                partitioner=Remembering(),
                linger_ms=round(timing.linger_s * 1000),
                batch_size=_BATCH_BYTES,
                max_request_size=_REQUEST_BYTES_MAX,
                max_in_flight_requests_per_connection=5,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                socket_options=_SOCKET_OPTIONS,
            )


def _check_size(record: NewRecord) -> None:
    around = len(record.key.encode()) + sum(len(name.encode()) + len(value) for name, value in record.headers)
    if len(record.value) > RECORD_BYTES_MAX or around > _AROUND_VALUE_BYTES_MAX:
        raise RecordTooLarge(
            f"a record for {record.topic!r} has {len(record.value)} bytes, and {around} of key and headers:"
            f" the log takes {RECORD_BYTES_MAX} and {_AROUND_VALUE_BYTES_MAX}; nothing of its batch was"
            " appended"
        )
