"""The log's entry point on Kafka."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

from kafka import KafkaAdminClient, OffsetSpec
from kafka import TopicPartition as Tp

from pipeline.eventlog.kafka.access import LIBRARY, Access
from pipeline.eventlog.kafka.consumer import ErasedKeys, KafkaLogConsumer
from pipeline.eventlog.kafka.producer import KafkaLogProducer
from pipeline.eventlog.kafka.reader import KafkaLogReader
from pipeline.eventlog.kafka.topics import Topics
from pipeline.eventlog.kafka.workarounds import connected
from pipeline.eventlog.port import TopicPartition


class KafkaEventLog:
    """The log on Kafka. Thread-safe. Connects on creation.

    Args:
        group_prefix: begins the name of each consumer group, in a shared cluster.
        erased: the persons whose records are read as erased.

    Raises:
        LogRefused: the servers' certificate is not accepted here, or the user's password there.
        LogUnavailable: no server answers.
    """

    def __init__(self, access: Access, *, group_prefix: str = "", erased: ErasedKeys | None = None) -> None:
        # The library's failures are reported once, by us, as an error with its remedy.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        access.check()
        self._access = access
        self._group_prefix = group_prefix
        self._erased = erased
        self._turn = threading.Lock()
        with access.explained("connecting"):
            self._admin = connected(KafkaAdminClient, **access.configuration())
        self._topics = Topics(access, self._admin)

    def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """See `pipeline.eventlog.port.EventLog`. With the servers' own defaults for all else."""
        with self._turn:
            self._topics.ensure(partitions)

    def producer(self) -> KafkaLogProducer:
        """See `pipeline.eventlog.port.EventLog`."""
        return KafkaLogProducer(self._access, self._topics)

    def consumer(self, group: str, topics: Sequence[str], *, member: str) -> KafkaLogConsumer:
        """See `pipeline.eventlog.port.EventLog`."""
        self._topics.partitions(topics)
        name = self._group_prefix + group
        return KafkaLogConsumer(
            self._access, self._admin, group=name, topics=topics, member=member, erased=self._erased
        )

    def reader(self, topic: str, offsets: Mapping[int, int]) -> KafkaLogReader:
        """See `pipeline.eventlog.port.EventLog`."""
        partitions = self._topics.partitions([topic])[topic]
        return KafkaLogReader(self._access, topic, partitions, offsets, erased=self._erased)

    def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See `pipeline.eventlog.port.EventLog`."""
        tps = [Tp(topic, partition) for partition in range(self._topics.partitions([topic])[topic])]
        with self._access.explained(f"asking how far {topic} reaches"):
            ends = self._admin.list_partition_offsets(dict.fromkeys(tps, OffsetSpec.LATEST))
        return {TopicPartition(*tp): int(ends[tp].offset) for tp in tps}

    def committed(self, group: str, topic: str) -> dict[TopicPartition, int]:
        """See `pipeline.eventlog.port.EventLog`."""
        name = self._group_prefix + group
        tps = [Tp(topic, partition) for partition in range(self._topics.partitions([topic])[topic])]
        with self._access.explained(f"asking what {name} committed"):
            firsts = self._admin.list_partition_offsets(dict.fromkeys(tps, OffsetSpec.EARLIEST))
            kept = self._admin.list_group_offsets({name: tps})[name]
        return {
            TopicPartition(*tp): max(int(firsts[tp].offset), kept[tp].offset if tp in kept else 0)
            for tp in tps
        }

    def close(self) -> None:
        """See `pipeline.eventlog.port.EventLog`."""
        with suppress(*LIBRARY):
            self._admin.close()
