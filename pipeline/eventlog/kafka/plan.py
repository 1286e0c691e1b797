"""Topics as code: plan them, compare a cluster with the plan, and apply it.

A change that would break the order of a student's records, or move data between servers, is never made: it is
reported, with the reason. The number of partitions decides which one a key goes to, so another number would
put a student's newer records where nothing keeps them behind the older ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as e
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.eventlog.kafka.access import Access
from pipeline.eventlog.kafka.workarounds import connected
from pipeline.eventlog.port import LogError


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic's plan; `configuration`: Kafka's names and values, as text; other names are left alone."""

    name: str
    partitions: int
    replication: int
    configuration: Mapping[str, str] = field(default_factory=dict)


class ChangeKind(StrEnum):
    """The action that a difference requires."""

    CREATE = "create"
    SET = "set"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TopicChange:
    """One difference; `present` is empty for a missing topic, `why` is the refusal."""

    kind: ChangeKind
    topic: str
    key: str
    present: str
    wanted: str
    why: str = ""


_LOOK_EVERY_S = 0.1
_ORDER = (
    "another number would send a student's newer records to another partition, where nothing keeps them"
    " behind the older ones; set log.partitions to what is there"
)
_MOVING = "it moves data between servers: `kafka-reassign-partitions`, then run this again"


class Planner:
    """Compares plans with a cluster, and applies them.

    Raises:
        LogRefused, LogUnavailable: there is no connection.
    """

    def __init__(self, access: Access) -> None:
        access.check()
        self._access = access
        with access.explained("connecting"):
            self._admin = connected(KafkaAdminClient, **access.configuration())

    def compare(self, plans: Sequence[TopicPlan]) -> list[TopicChange]:
        """Return the cluster's differences from the plans, topic by topic.

        Raises:
            NotAllowed: the user may not look.
            LogUnavailable: try again.
        """
        with self._access.explained("looking at the topics"):
            found = self._topics([plan.name for plan in plans])
            settings = self._settings([plan.name for plan in plans if plan.name in found])
        changes = []
        for plan in plans:
            topic = found.get(plan.name)
            if topic is None:
                wanted = f"{plan.partitions} partitions, {plan.replication} replicas"
                changes.append(TopicChange(ChangeKind.CREATE, plan.name, "topic", "", wanted))
            else:
                changes += _differences(plan, topic, settings[plan.name])
        return changes

    def apply(self, plans: Sequence[TopicPlan], changes: Sequence[TopicChange]) -> None:
        """Apply these changes, except refused ones.

        Raises:
            NotAllowed: the user may not; the changes before it are made.
            LogError: Kafka refuses, or does not answer; run it again.
        """
        by_name = {plan.name: plan for plan in plans}
        created = [by_name[change.topic] for change in changes if change.kind is ChangeKind.CREATE]
        if created:
            with self._access.explained(f"creating {', '.join(plan.name for plan in created)}"):
                self._create(created)
        altered: dict[str, dict[str, str]] = {}
        for change in changes:
            if change.kind is ChangeKind.SET:
                altered.setdefault(change.topic, {})[change.key] = change.wanted
        if altered:
            resources = [
                ConfigResource(ConfigResourceType.TOPIC, name, values) for name, values in altered.items()
            ]
            with self._access.explained(f"changing {', '.join(altered)}"):
                self._admin.alter_configs(resources, incremental=True)
                self._await(altered)

    def close(self) -> None:
        """Release resources."""
        self._admin.close()

    def _await(self, altered: Mapping[str, Mapping[str, str]]) -> None:
        """Wait until the servers show the changes that they have accepted."""
        give_up_at = time.monotonic() + self._access.timing.request_timeout_s
        while time.monotonic() < give_up_at:
            present = self._settings(list(altered))
            if all(present[name].items() >= values.items() for name, values in altered.items()):
                return
            time.sleep(_LOOK_EVERY_S)

    def _create(self, plans: Sequence[TopicPlan]) -> None:
        answer = self._admin.create_topics(
            {
                plan.name: {
                    "num_partitions": plan.partitions,
                    "replication_factor": plan.replication,
                    "configs": dict(plan.configuration),
                }
                for plan in plans
            },
            raise_errors=False,
        )
        for topic in answer["topics"]:
            error = e.for_code(topic["error_code"])
            if error is e.InvalidReplicationFactorError:
                raise LogError(
                    f"{topic['name']}: Kafka has fewer servers than log.replication asks for",
                    remedy="Start the others, or set log.replication lower.",
                )
            if error not in (e.NoError, e.TopicAlreadyExistsError):
                raise error([topic["name"]])
        self._admin.wait_for_topics([plan.name for plan in plans])

    def _topics(self, names: list[str]) -> dict[str, Any]:
        found = {}
        for topic in self._admin.describe_topics(names):
            error = e.for_code(topic["error_code"])
            if error is e.NoError:
                found[topic["name"]] = topic
            elif error is not e.UnknownTopicOrPartitionError:
                raise error([topic["name"]])
        return found

    def _settings(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        described = self._admin.describe_configs(resources, config_filter="all")["topic"]
        return {
            name: {key: str(value["value"]) for key, value in values.items()}
            for name, values in described.items()
        }


def _differences(plan: TopicPlan, topic: Mapping[str, Any], settings: Mapping[str, str]) -> list[TopicChange]:
    partitions = topic["partitions"]
    replicas = min(len(partition["replica_nodes"]) for partition in partitions)
    changes = []
    if len(partitions) != plan.partitions:
        present, wanted = str(len(partitions)), str(plan.partitions)
        changes.append(TopicChange(ChangeKind.REFUSED, plan.name, "partitions", present, wanted, _ORDER))
    if replicas != plan.replication:
        present, wanted = str(replicas), str(plan.replication)
        changes.append(TopicChange(ChangeKind.REFUSED, plan.name, "replicas", present, wanted, _MOVING))
    for key, wanted in plan.configuration.items():
        present = settings.get(key, "")
        if present != wanted:
            changes.append(TopicChange(ChangeKind.SET, plan.name, key, present, wanted))
    return changes
