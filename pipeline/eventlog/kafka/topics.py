"""The adapter's view of the topics: which exist, with how many partitions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as e
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from pipeline.eventlog.kafka.access import Access
from pipeline.eventlog.port import LogError, UnknownTopic

_LOOK_EVERY_S = 0.1
_NEXT_AFTER_S = 0.02  # while the client leaves the one that failed alone: `reconnect_backoff_ms`


class Topics:
    """The topics of one cluster, as the administrator's client sees them. Thread-safe.

    Known topics are cached, as they are not repartitioned, until an append to one fails.
    """

    def __init__(self, access: Access, admin: KafkaAdminClient) -> None:
        self._access = access
        self._admin = admin
        self._partitions: dict[str, int] = {}

    def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the number of partitions of each of these topics.

        Raises:
            UnknownTopic: naming one that is missing.
            NotAllowed: nothing may be done with one of them.
            LogUnavailable: try again.
        """
        wanted = list(dict.fromkeys(topics))
        missing = [topic for topic in wanted if topic not in self._partitions]
        give_up_at = time.monotonic() + self._access.timing.known_within_s
        while missing:
            self._partitions |= self.look(missing)
            missing = [topic for topic in missing if topic not in self._partitions]
            if missing and time.monotonic() > give_up_at:
                raise UnknownTopic(f"there is no topic {missing[0]!r} in Kafka: `sesame topics apply`")
            if missing:
                time.sleep(_LOOK_EVERY_S)
        return {topic: self._partitions[topic] for topic in wanted}

    def forget(self, topics: Iterable[str]) -> None:
        """Drop these topics from the cache: they may be gone."""
        for topic in set(topics):
            self._partitions.pop(topic, None)

    def look(self, topics: Iterable[str]) -> dict[str, int]:
        """Count the present partitions of these topics, without missing ones. Raises as `partitions`."""
        present = {}
        wanted = list(topics)
        with self._access.explained(f"looking for {', '.join(wanted)}"):
            for topic in self._described(wanted):
                error = e.for_code(topic["error_code"])
                if error is e.NoError:
                    if all(each["leader_id"] >= 0 for each in topic["partitions"]):
                        present[topic["name"]] = len(topic["partitions"])
                elif not issubclass(error, (e.UnknownTopicOrPartitionError, e.LeaderNotAvailableError)):
                    raise error([topic["name"]])
        return present

    def _described(self, topics: list[str]) -> list[dict[str, Any]]:
        """Return the servers' descriptions; retry while one of them is dead but listed.

        The administrator's client, unlike the others, queries a listed server, fails, and tries no other.
        """
        asking = Retrying(
            retry=retry_if_exception_type(e.KafkaConnectionError),
            stop=stop_after_attempt(1 + len(self._access.servers)),
            wait=wait_fixed(_NEXT_AFTER_S),
            reraise=True,
        )
        described: list[dict[str, Any]] = asking(self._admin.describe_topics, topics)
        return described

    def ensure(self, partitions: Mapping[str, int]) -> None:
        """See `pipeline.eventlog.port.EventLog.ensure_topics`."""
        for topic, wanted in partitions.items():
            if wanted < 1:
                raise LogError(f"topic {topic!r} needs at least one partition, not {wanted}")
        present = self.look(partitions)
        created = [topic for topic in partitions if topic not in present]
        if created:
            with self._access.explained(f"creating {', '.join(created)}"):
                answer = self._admin.create_topics(
                    {topic: {"num_partitions": partitions[topic]} for topic in created}, raise_errors=False
                )
                for topic in answer["topics"]:
                    error = e.for_code(topic["error_code"])
                    if error not in (e.NoError, e.TopicAlreadyExistsError):
                        raise error([topic["name"]])
            self._admin.wait_for_topics(created)
            present |= self.look(created)
        for topic, wanted in partitions.items():
            if present.get(topic, wanted) != wanted:
                raise LogError(
                    f"topic {topic!r} has {present[topic]} partitions, not {wanted}: changing the number"
                    " would break the order of each student's records; set it back to what it was"
                )
