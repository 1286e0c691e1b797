"""The event log on Apache Kafka 3.3 or newer; the only importer of `kafka`.

How the port's guarantees are kept:

- **Order.** Kafka's default partitioner gives a key's partition (murmur2 of its UTF-8): producers in other
  languages agree. The producer is idempotent: a record resent after an error keeps its place.
- **Durability.** `acks=all`: an append returns once every replica in sync has it. How many those are is the
  topic's `min.insync.replicas` (`sesame topics`).
- **Sharing.** Consumer groups of Kafka's classic protocol with the range assignor, which gives a member the
  same partition of a personal topic and of its bulk twin. Members are static: one that was killed and comes
  back under its name continues at once, and its former self is shut out.
- **Limits.** Kafka's. An offset that is out of range is an error: positions are never reset silently. The
  epoch of the leader under which the last record was written is committed with each offset: a server that
  lost the end of its log leads under a new one, so that a consumer that continues there notices (`epochs`).
"""

from pipeline.errors import of_extra

with of_extra("kafka"):
    from pipeline.eventlog.kafka.access import Access, Security, Timing
    from pipeline.eventlog.kafka.log import KafkaEventLog

__all__ = ["Access", "KafkaEventLog", "Security", "Timing"]
