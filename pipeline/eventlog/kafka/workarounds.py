"""Faults of kafka-python 3.0.12, and a workaround for each.

The conformance suite meets all of them. They touch the library's private parts: look here first when its
version changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata
from kafka import TopicPartition as Tp
from kafka import errors as e
from kafka.consumer import group
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.structs import MemberState

from pipeline.eventlog.kafka import sockets

sockets.mend()

Client = TypeVar("Client")

_SETUP_PATIENCE = 4
"""The greatest factor of the connection's time-out, after slow attempts."""


def connected(make: Callable[..., Client], **configuration: Any) -> Client:
    """Return `make(**configuration)`. On failure end the thread that it began, which the library leaves."""
    begun: list[KafkaNetClient] = []

    def client(**options: Any) -> KafkaNetClient:
        begun.append(_in_time(options))
        return begun[-1]

    try:
        return make(**configuration, kafka_client=client)
    except BaseException:
        for each in begun:
            each.close()
        raise


def _in_time(options: Mapping[str, Any]) -> KafkaNetClient:
    """Return the library's client, with time-outs for connecting, TLS and login.

    Its consumers, producers and administrators have no such option; an attempt would outlive its append.
    """
    return KafkaNetClient(
        **options,
        socket_connection_setup_timeout_ms=options["request_timeout_ms"],
        socket_connection_setup_timeout_max_ms=_SETUP_PATIENCE * options["request_timeout_ms"],
    )


def end(producer: KafkaProducer, timeout_s: float) -> None:
    """Close a producer; what is not sent within the time is never sent.

    The library's `close` gives up while something is waiting, and leaves the sending thread: an idempotent
    producer that gets no id from the servers keeps its records, and sends them when the servers are well
    again, after newer ones of the producer that replaced it.
    """
    with suppress(e.KafkaError, OSError, RuntimeError):
        producer.close(timeout=timeout_s)
        return
    sender = producer._sender  # noqa: SLF001
    sender.force_close()
    sender.join(timeout_s)
    with suppress(e.KafkaError, OSError, RuntimeError):
        producer.close(timeout=timeout_s)


def log_in(configuration: Mapping[str, Any]) -> None:
    """Connect to one server as the configured user, and disconnect. Raises the server's or network's error.

    The library hides a refusal: it retries, and ends with a time-out.
    """
    client = _in_time(configuration)

    async def knock() -> None:
        manager = client._manager  # noqa: SLF001
        server = manager.cluster.bootstrap_brokers()[0]
        timeout_ms = configuration["request_timeout_ms"]
        await manager.get_connection(server.node_id, timeout_ms=timeout_ms, refresh_metadata_on_err=False)

    client._net.start()  # noqa: SLF001
    try:
        client._net.run(knock)  # noqa: SLF001
    finally:
        client.close()


class Part(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records fetched of one partition.

    The library keeps a part that cannot be read to its end (a record damaged on the way), takes nothing from
    it again and again, and the poll never returns.
    """

    def take(self, n: int | None = None) -> list[Any]:
        """Return the next records; on an error drop the part: the next poll refetches."""
        try:
            taken: list[Any] = super().take(n)
        except Exception as error:
            tp, offset = self.topic_partition, self.next_fetch_offset
            self.drain()
            if isinstance(error, e.CorruptRecordError):  # whose text may show what the record says
                place = f"{tp.topic} partition {tp.partition}, offset {offset}"
                raise e.CorruptRecordError(place) from error
            raise
        return taken


Fetcher.PartitionRecords = Part


class Parted(NamedTuple):
    """The next offset to read, and where the log parts from what was read, if known."""

    offset: int
    where: OffsetAndMetadata | None


class Truncation(Fetcher):  # type: ignore[misc]
    """The library's fetcher, which repeats that a log lost its end until a seek.

    The library reports it once, and then reads on at the old offset as if nothing had happened.
    """

    def _handle_offset_for_leader_epoch_response(self, response: Any, requested_positions: Any) -> Any:
        with self._subscriptions._lock:  # noqa: SLF001  # no concurrent fetch
            parted = super()._handle_offset_for_leader_epoch_response(response, requested_positions)
            for tp in parted:
                self._subscriptions.assignment[tp].request_position_validation()
            retry_at = time.monotonic() + self.config["retry_backoff_ms"] / 1000
            self._subscriptions.validation_failed(set(parted), retry_at)
        return parted


async def _with_epochs(coordinator: ConsumerCoordinator, timeout_ms: float | None = None) -> bool:
    """Begin at the group's committed offset, with the epoch committed with it.

    The library drops the epoch, and then never checks whether the log is still the one that was read.
    """
    missing = set(coordinator._subscription.missing_fetch_positions())  # noqa: SLF001
    try:
        found = await coordinator.fetch_committed_offsets_async(missing, timeout_ms=timeout_ms)
    except e.KafkaTimeoutError:
        return False
    for tp, committed in found.items():
        coordinator._subscription.seek(tp, committed)  # noqa: SLF001
    return True


ConsumerCoordinator.refresh_committed_offsets_if_needed_async = _with_epochs
group.Fetcher = Truncation


def ask_anew(consumer: KafkaConsumer) -> None:
    """Drop cached fetches of committed offsets, so that the next one is current.

    The library keeps an answer that was not awaited, and may return it after a later commit.
    """
    consumer._coordinator._offset_fetch_futures.clear()  # noqa: SLF001


def parted(consumer: KafkaConsumer, error: e.LogTruncationError) -> dict[Tp, Parted]:
    """Return where the log still differs from what was read: no seek happened since."""
    assignment = consumer._subscription.assignment  # noqa: SLF001
    return {
        tp: Parted(assignment[tp].position.offset, where)
        for tp, where in error.divergent_offsets.items()
        if tp in assignment and assignment[tp].awaiting_validation
    }


def unpark(consumer: KafkaConsumer) -> None:
    """Make a partition that was paused and resumed readable; call before each poll.

    The library sets fetched data of a paused partition aside, and takes it back only when it is draining no
    part: an empty part silences the resumed partition permanently.
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if not fetcher._next_partition_records:  # noqa: SLF001
        fetcher._next_partition_records = None  # noqa: SLF001


class _Ended:
    """A successful join that the library can await again, with its result at hand."""

    is_done = False

    def __init__(self, assignment: bytes) -> None:
        self._assignment = assignment

    def add_callback(self, told: Callable[[bytes], None]) -> None:
        told(self._assignment)

    def add_errback(self, told: Callable[[Exception], None]) -> None:
        """Ignore the callback: the join did not fail."""


def stable(consumer: KafkaConsumer) -> bool:
    """Return whether the member has its part of the group. If not, the next poll must wait.

    The library loses the result of a join that ended between two polls: it begins another one, which disturbs
    the whole group, and never ends if all polls are short. And when the topics became known while a join was
    under way, it does not wait for it at all.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    if coordinator.state == MemberState.REBALANCING and not coordinator.need_rejoin():
        coordinator.request_rejoin()
    join = coordinator._join_task  # noqa: SLF001
    if isinstance(join, Future) and join.is_done and join.succeeded():
        coordinator._join_task = _Ended(join.value)  # noqa: SLF001
    return bool(coordinator.state == MemberState.STABLE and not coordinator.need_rejoin())


def shut_out(consumer: KafkaConsumer) -> bool:
    """Return whether another process took the member's name. The library stops its heartbeat in silence."""
    coordinator = consumer._coordinator  # noqa: SLF001
    return stable(consumer) and not coordinator._heartbeat_enabled  # noqa: SLF001


class Sight:
    """The topics that a consumer sees in the cluster.

    The library reads nothing, without an error, of a topic that the servers hide from it or lack: it looks
    again after a minute. A request for such a topic's offsets breaks it.
    """

    def __init__(self, consumer: KafkaConsumer, topics: Iterable[str], known_within_s: float) -> None:
        self._consumer = consumer
        self._topics = frozenset(topics)
        self._known_within_s = known_within_s
        self._unseen_since: float | None = None

    def trouble(self) -> e.KafkaError | None:
        """Return why a topic is invisible, if one is; also refresh the metadata."""
        cluster = self._consumer._cluster  # noqa: SLF001
        unseen = {topic for topic in self._topics if cluster.partitions_for_topic(topic) is None}
        if not unseen:
            self._unseen_since = None
            return None
        now = time.monotonic()
        since = self._unseen_since = self._unseen_since or now
        cluster.request_update()
        if hidden := unseen & cluster.unauthorized_topics:
            return e.TopicAuthorizationFailedError(hidden)
        answered_at = cluster._last_successful_refresh_ms / 1000  # noqa: SLF001
        if since + self._known_within_s < min(now, answered_at):
            return e.UnknownTopicOrPartitionError(unseen)
        return None  # it has just joined, or the topic is new

    def offsets(self, ask: Callable[..., dict[Tp, int]], tps: Iterable[Tp], timeout_ms: int) -> dict[Tp, int]:
        """Return offsets by `ask`, the consumer's `beginning_offsets` or `end_offsets`."""
        try:
            return ask(list(tps), timeout_ms=timeout_ms)
        except KeyError as error:
            raise (self.trouble() or e.LeaderNotAvailableError(error.args)) from error
