"""From the settings to the event log: embedded, or Kafka's."""

from __future__ import annotations

import socket
from typing import Final

from pipeline.eventlog.port import EventLog
from pipeline.eventlog.sqlite import SqliteEventLog
from schemas import catalogue
from sesame.app.lazy import lazily
from sesame.settings import Settings, SettingsError, folders

with lazily():
    from pipeline.eventlog import kafka
    from pipeline.eventlog.kafka import consumer as kafka_consumer
    from pipeline.eventlog.kafka import plan

GROUP_PREFIX: Final = "sesame."
"""The prefix of consumer groups, to which `ops/kafka/acls.toml` gives rights."""
_SEGMENT_BYTES = 268_435_456
_BATCH_BYTES_MAX = 1_048_588  # Kafka's own default: the largest record, with its key and headers, fits


class NotKafka(SettingsError):
    """The event log is the embedded one, which `sesame run` makes. `log.kind = "kafka"` names Kafka's."""


def open_log(settings: Settings, erased: kafka_consumer.ErasedKeys | None = None) -> EventLog:
    """The event log: the embedded one is created now, Kafka's topics by `sesame topics`.

    `erased`: erased persons; Kafka still has their records unchanged.

    Raises:
        LogError: it cannot be used, or the embedded one has other partitions than the settings say.
        SettingsError: a secret is missing.
    """
    if settings.log.kind == "kafka":
        return kafka.KafkaEventLog(kafka_access(settings), group_prefix=GROUP_PREFIX, erased=erased)
    folders.make(settings.log_path.parent)
    retention_s = {topic.name: float(topic.retention_s) for topic in catalogue.TOPICS.values()}
    log = SqliteEventLog(settings.log_path, retention_s=retention_s)
    log.ensure_topics(dict.fromkeys(catalogue.TOPICS, settings.log.partitions))
    return log


def kafka_access(settings: Settings) -> kafka.Access:
    """Kafka's addresses and credentials; raises SettingsError without the password."""
    wanted = settings.log
    security = kafka.Security(wanted.security)
    authenticated = security is kafka.Security.SASL_SSL
    return kafka.Access(
        servers=wanted.servers,
        client_id=f"sesame-{socket.gethostname()[:30]}",
        security=security,
        ca_file=wanted.ca_file,
        username=wanted.username if authenticated else None,
        password=wanted.secret("password").get_secret_value() if authenticated else None,
        timing=kafka.Timing(session_timeout_s=wanted.session_timeout_s),
    )


def topic_plans(settings: Settings) -> list[plan.TopicPlan]:
    """Each topic as Kafka should have it.

    Of an account's announcements the newest says all that there is to say, so those topics are compacted
    too, once a week has passed. Segments end each day, so that what is past its retention, personal data
    above all, is gone a day later; the servers' clock says how old a record is.
    """
    wanted = settings.log
    compacted = catalogue.both_lanes(catalogue.ACCOUNTS)
    plans = []
    for topic in catalogue.TOPICS.values():
        configuration = {
            "cleanup.policy": "delete,compact" if topic.name in compacted else "delete",
            "retention.ms": str(topic.retention_s * 1000),
            "retention.bytes": "-1",  # age alone decides: what is read late is there
            "segment.ms": str(catalogue.DAY_S * 1000),
            "segment.bytes": str(_SEGMENT_BYTES),
            "max.message.bytes": str(_BATCH_BYTES_MAX),
            "min.insync.replicas": str(wanted.min_insync_replicas),
            "unclean.leader.election.enable": "false",
            "message.timestamp.type": "LogAppendTime",
        }
        if topic.name in compacted:
            configuration["min.compaction.lag.ms"] = str(7 * catalogue.DAY_S * 1000)
        plans.append(plan.TopicPlan(topic.name, wanted.partitions, wanted.replication, configuration))
    return plans
