"""Read a Kafka topic from given offsets, in no group. See `pipeline.eventlog.port.TopicReader`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from kafka import KafkaConsumer
from kafka import TopicPartition as Tp
from kafka import errors as e

from pipeline.eventlog.kafka import workarounds
from pipeline.eventlog.kafka.access import LIBRARY, Access
from pipeline.eventlog.kafka.consumer import ErasedKeys, record_of
from pipeline.eventlog.kafka.membership import reading
from pipeline.eventlog.port import OffsetOutOfRange, Record, TopicPartition


class KafkaLogReader:
    """See `pipeline.eventlog.port.TopicReader`. Owned by one thread. Connects now.

    Args:
        partitions: how many the topic has.
        offsets: where to begin, by partition; a partition that is not named begins at its first record.
        erased: the persons whose records are read as erased.
    """

    def __init__(
        self,
        access: Access,
        topic: str,
        partitions: int,
        offsets: Mapping[int, int],
        *,
        erased: ErasedKeys | None = None,
    ) -> None:
        self._access = access
        self._erased = erased
        self._doing = f"reading {topic}"
        access.check()
        with access.explained(self._doing):
            self._consumer: KafkaConsumer = workarounds.connected(
                KafkaConsumer, **reading(access), group_id=None
            )
            self._sight = workarounds.Sight(self._consumer, [topic], access.timing.known_within_s)
            self._consumer.assign([Tp(topic, each) for each in range(partitions)])
            for each in range(partitions):
                if each in offsets:
                    self._consumer.seek(Tp(topic, each), offsets[each])
                else:
                    self._consumer.seek_to_beginning(Tp(topic, each))

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See `pipeline.eventlog.port.TopicReader`.

        Raises:
            NotAllowed, UnknownTopic: the user may not read the topic, or not any more; it is gone.
        """
        if self._erased is not None:
            self._erased.look()
        try:
            found = self._consumer.poll(timeout_ms=round(timeout_s * 1000), max_records=max_records)
        except e.OffsetOutOfRangeError as error:
            tp, offset = next(iter(error.args[0].items()))
            with self._access.explained(self._doing):
                first = self._consumer.beginning_offsets([tp])[tp]
            raise OffsetOutOfRange(
                f"offset {offset} of {tp.topic} partition {tp.partition} is not in the log: what is there"
                f" starts at {first}",
                tp=TopicPartition(*tp),
                offset=offset,
                first=first,
            ) from error
        except LIBRARY as error:
            raise self._access.explain(error, self._doing) from error
        if not found and (trouble := self._sight.trouble()) is not None:
            raise self._access.explain(trouble, self._doing)
        return [record_of(each, self._erased) for part in found.values() for each in part]

    def close(self) -> None:
        """See `pipeline.eventlog.port.TopicReader`."""
        with suppress(*LIBRARY):
            self._consumer.close(autocommit=False)
