"""Joining a consumer group as a static member, and leaving it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import MemberToRemove
from kafka.coordinator.assignors.range import RangePartitionAssignor

from pipeline.eventlog.kafka import workarounds
from pipeline.eventlog.kafka.access import LIBRARY, Access
from pipeline.eventlog.kafka.listener import Listener

NAME_LENGTH_MAX = 200
_FETCH_BYTES_MAX = 16_000_000
_PARTITION_FETCH_BYTES_MAX = 1_000_000
_FETCH_WAIT_S_MAX = 0.5


def name_of(member: str) -> str:
    """Return a member's name in the form that Kafka accepts."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", member)[:NAME_LENGTH_MAX] or "member"


def reading(access: Access) -> dict[str, Any]:
    """Return the configuration of every consumer of the library, in a group or not."""
    return access.configuration() | {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "fetch_max_bytes": _FETCH_BYTES_MAX,
        "max_partition_fetch_bytes": _PARTITION_FETCH_BYTES_MAX,
        "fetch_max_wait_ms": round(min(_FETCH_WAIT_S_MAX, access.timing.request_timeout_s / 2) * 1000),
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


def join(access: Access, group: str, name: str, topics: Iterable[str], listener: Listener) -> KafkaConsumer:
    """Create the library's consumer, which joins at its first poll.

    Raises:
        LogRefused, LogUnavailable: there is no connection.
    """
    timing = access.timing
    access.check()
    with access.explained(f"joining group {group}"):
        consumer: KafkaConsumer = workarounds.connected(
            KafkaConsumer,
            **reading(access),
            group_id=group,
            group_instance_id=name,
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=round(timing.session_timeout_s * 1000),
            heartbeat_interval_ms=round(min(1.0, timing.session_timeout_s / 5) * 1000),
            max_poll_interval_ms=round(timing.poll_interval_s_max * 1000),
        )
        listener.consumer = consumer
        consumer.subscribe(list(topics), listener=listener)
    return consumer


def leave(consumer: KafkaConsumer, admin: KafkaAdminClient, group: str, name: str, *, seated: bool) -> None:
    """Close the consumer; leave the group if the name is still its own (`seated`).

    A log that is out of order must not prevent that: the session expires alone.
    """
    with suppress(*LIBRARY):
        mine = consumer.group_metadata()
        consumer.close(autocommit=False, timeout_ms=consumer.config["request_timeout_ms"])
        if mine.member_id and seated:
            # A static member must be removed. By both names: never another process's seat.
            leaving = MemberToRemove(member_id=mine.member_id, group_instance_id=name)
            admin.remove_group_members(group, [leaving])
