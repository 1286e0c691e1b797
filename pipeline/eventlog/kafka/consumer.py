"""Reading Kafka as a member of a consumer group.

One thread owns the consumer; the library's own thread speaks to the servers and sends heartbeats. On a
rebalance, that thread calls the listener, which never blocks it: the listener commits what could not be
committed before, awaiting the answer. A member that another process under its name shuts out continues under
another name.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Protocol

from kafka import KafkaAdminClient, OffsetAndMetadata
from kafka import TopicPartition as Tp
from kafka import errors as e

from pipeline.eventlog.kafka import workarounds
from pipeline.eventlog.kafka.access import LIBRARY, Access
from pipeline.eventlog.kafka.epochs import Epochs
from pipeline.eventlog.kafka.listener import Listener
from pipeline.eventlog.kafka.membership import NAME_LENGTH_MAX, join, leave, name_of
from pipeline.eventlog.port import (
    LogError,
    LogUnavailable,
    NotAssigned,
    OffsetOutOfRange,
    Record,
    TopicPartition,
)

_JOIN_S = 0.2


class ErasedKeys(Protocol):
    """The persons erased from the log: their records keep their place without content."""

    def look(self) -> None:
        """Refresh the erased keys; called before records are read.

        Raises:
            DependencyDown: they cannot be read, so no record is.
        """

    def pseudonym(self, key: str, timestamp_ms: int) -> str | None:
        """Return the pseudonym for this key in a record of this time; None: keep the key."""


class KafkaLogConsumer:
    """See `pipeline.eventlog.port.Consumer`. Owned by one thread.

    Args:
        admin: of the same cluster, for leaving the group; not closed here.
        member: stable over restarts.
        erased: the persons whose records are read as erased.
    """

    def __init__(
        self,
        access: Access,
        admin: KafkaAdminClient,
        *,
        group: str,
        topics: Iterable[str],
        member: str,
        erased: ErasedKeys | None = None,
    ) -> None:
        self._access = access
        self._admin = admin
        self._group = group
        self._topics = list(topics)
        self._name = name_of(member)
        self._erased = erased
        self._listener = Listener()
        self._paused: set[Tp] = set()
        self._filled: set[Tp] = set()  # their records filled the last poll: others are polled first now
        self._committed: dict[Tp, int | None] = {}
        self._epochs = Epochs()
        self._hidden = False  # nothing is ours until the next poll, even if the library lists it
        self._shut_out = False
        self._join()

    # --- reading ----------------------------------------------------------------------------------

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See `pipeline.eventlog.port.Consumer`.

        Raises:
            NotAllowed: the user may not read a topic, or not as this group.
            UnknownTopic: a topic is gone.
        """
        deadline = time.monotonic() + timeout_s
        self._hidden = False
        if self._shut_out:
            self._begin_again()
        if max_records == 0:
            return self._fetch(1, 0.0, silent=self._owned())
        if self._erased is not None:
            self._erased.look()
        if self._filled:  # else a backlog would keep the others waiting
            records = self._fetch(max_records, 0.0, silent=self._filled)
            if records or self._hidden:
                return records
        while True:
            records = self._fetch(max_records, max(0.0, deadline - time.monotonic()), silent=set())
            if records or self._hidden or time.monotonic() >= deadline:
                return records

    def _fetch(self, wanted: int, timeout_s: float, *, silent: AbstractSet[Tp]) -> list[Record]:
        """Fetch up to `wanted` records, none of paused or `silent` partitions."""
        silent = silent | self._paused
        owned = self._owned()
        self._consumer.pause(*(owned & silent))
        self._consumer.resume(*(owned - silent))
        workarounds.unpark(self._consumer)
        found = self._ask(wanted, timeout_s)
        if self._listener.shared_out:
            self._listener.shared_out = False
            self._committed = {}
        if self._listener.lost:
            self._listener.lost = set()
            self._hidden = True
        for tp in [tp for tp in found if self._hidden or tp in silent]:  # it came to us within this very poll
            self._consumer.seek(tp, found.pop(tp)[0].offset)
        self._epochs.read(found)
        self._filled = set(found) if sum(map(len, found.values())) == wanted else set()
        self._pay()
        return [record_of(each, self._erased) for part in found.values() for each in part]

    def _ask(self, wanted: int, timeout_s: float) -> dict[Tp, list[Any]]:
        if workarounds.shut_out(self._consumer):
            raise self._fenced()
        if (trouble := self._sight.trouble()) is not None:
            raise self._access.explain(trouble, f"reading as {self._group}")
        if not workarounds.stable(self._consumer):
            timeout_s = max(timeout_s, _JOIN_S)
        try:
            found: dict[Tp, list[Any]] = self._consumer.poll(
                timeout_ms=round(timeout_s * 1000), max_records=wanted
            )
        except e.NoOffsetForPartitionError as error:  # the group never committed there
            self._consumer.seek_to_beginning(*error.args[0])
            return {}
        except e.OffsetOutOfRangeError as error:
            raise self._out_of_range(error.args[0]) from error
        except e.LogTruncationError as error:
            if lost := workarounds.parted(self._consumer, error):
                raise self._truncated(*next(iter(lost.items()))) from error
            return {}
        except e.FencedInstanceIdError as error:
            raise self._fenced() from error
        except LIBRARY as error:
            raise self._access.explain(error, f"reading as {self._group}") from error
        return found

    def _out_of_range(self, offsets: Mapping[Tp, int]) -> OffsetOutOfRange:
        """Return the port's error for the first of these offsets. Raises LogError if Kafka is silent."""
        tp, offset = next(iter(offsets.items()))
        first, end = self._bounds(tp)
        return OffsetOutOfRange(
            f"group {self._group!r}: offset {offset} of {tp.topic} partition {tp.partition} is not in the"
            f" log: what is there starts at {first}, and the next to be written is {end}",
            tp=TopicPartition(*tp),
            offset=offset,
            first=first,
        )

    def _truncated(self, tp: Tp, parted: workarounds.Parted) -> OffsetOutOfRange:
        """Return the port's error for a log that lost its end; raises as `_out_of_range`."""
        first, _ = self._bounds(tp)
        if parted.where is not None:
            first = max(first, parted.where.offset)
            self._epochs.note(tp, first - 1, parted.where.leader_epoch)
        return OffsetOutOfRange(
            f"group {self._group!r}: Kafka lost the end of {tp.topic} partition {tp.partition}: what was read"
            f" from offset {first} on, up to {parted.offset}, is not there any more; other records may be",
            tp=TopicPartition(*tp),
            offset=parted.offset,
            first=first,
        )

    def _bounds(self, tp: Tp) -> tuple[int, int]:
        with self._access.explained(f"asking where {tp.topic} begins"):
            first = self._sight.offsets(self._consumer.beginning_offsets, [tp], self._request_ms)[tp]
            end = self._sight.offsets(self._consumer.end_offsets, [tp], self._request_ms)[tp]
        return first, end

    # --- assignment ---------------------------------------------------------------------------------

    def assignment(self) -> Mapping[TopicPartition, int]:
        """See `pipeline.eventlog.port.Consumer`. The number is the group's generation that gave it."""
        if self._hidden or self._shut_out:
            return {}
        given = self._listener.given  # a partition that the listener was not given yet is not ours yet
        return {TopicPartition(*tp): given[tp] for tp in self._owned() if tp in given}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See `pipeline.eventlog.port.Consumer`. Raises NotAssigned for a partition of another member."""
        if tp not in self.assignment():
            raise NotAssigned(f"{tp} is not assigned to this member of group {self._group!r}")
        self._consumer.seek(Tp(*tp), offset)

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """See `pipeline.eventlog.port.Consumer`. Outlasts a change of owner."""
        self._paused.update(Tp(*tp) for tp in tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """See `pipeline.eventlog.port.Consumer`."""
        self._paused.difference_update(Tp(*tp) for tp in tps)

    # --- committing -----------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `pipeline.eventlog.port.Consumer`.

        Raises:
            NotAssigned: also during a rebalance; what is still ours after it is committed then.
        """
        owned = self.assignment()
        ours = {
            Tp(*tp): self._epochs.commit(Tp(*tp), offset) for tp, offset in offsets.items() if tp in owned
        }
        try:
            self._commit(ours)
        except e.RebalanceInProgressError as error:
            self._listener.owed |= ours
            raise self._access.explain(error, "committing") from error
        except (e.CommitFailedError, e.IllegalGenerationError, e.UnknownMemberIdError) as error:
            self._hidden = True
            raise self._access.explain(error, "committing") from error
        except e.FencedInstanceIdError as error:
            self._shut_out = True
            raise NotAssigned(
                f"another process has the name {self._name!r} in group {self._group!r}"
            ) from error
        except LIBRARY as error:
            raise self._access.explain(error, f"committing as {self._group}") from error
        if len(ours) < len(offsets):
            foreign = sorted(tp for tp in offsets if tp not in owned)
            raise NotAssigned(f"not this member's part of group {self._group!r}: {foreign}")

    def _commit(self, offsets: dict[Tp, OffsetAndMetadata]) -> None:
        if offsets:
            self._consumer.commit(offsets, timeout_ms=self._request_ms)
            workarounds.ask_anew(self._consumer)
            self._committed |= {tp: kept.offset for tp, kept in offsets.items()}
            for tp in offsets:  # what was to be committed before is behind it
                self._listener.owed.pop(tp, None)

    def _pay(self) -> None:
        """Commit what could not be committed during the rebalance."""
        owed = {tp: offset for tp, offset in self._listener.owed.items() if tp in self._owned()}
        if not owed or self._hidden:
            return
        with suppress(*LIBRARY):  # still being shared out, or lost: then the next poll knows
            self._commit(owed)

    def committed(self, tp: TopicPartition) -> int | None:
        """See `pipeline.eventlog.port.Consumer`."""
        with self._access.explained(f"asking what {self._group} committed"):
            offset: int | None = self._consumer.committed(Tp(*tp), timeout_ms=self._request_ms)
        return offset

    def lag(self) -> dict[TopicPartition, int]:
        """See `pipeline.eventlog.port.Consumer`. What retention removed is not counted."""
        owned = [] if self._hidden or self._shut_out else sorted(self._owned())
        if not owned:
            return {}
        with self._access.explained("asking how far the log reaches"):
            firsts = self._sight.offsets(self._consumer.beginning_offsets, owned, self._request_ms)
            ends = self._sight.offsets(self._consumer.end_offsets, owned, self._request_ms)
        lag = {}
        for tp in owned:
            if tp not in self._committed:  # only we commit our partitions: fetched once
                self._committed[tp] = self.committed(TopicPartition(*tp))
            lag[TopicPartition(*tp)] = max(0, ends[tp] - max(firsts[tp], self._committed[tp] or 0))
        return lag

    # --- joining and leaving --------------------------------------------------------------------------

    def close(self) -> None:
        """See `pipeline.eventlog.port.Consumer`. If the log is out of order, the session expires alone."""
        leave(self._consumer, self._admin, self._group, self._name, seated=not self._shut_out)

    def _fenced(self) -> LogError:
        self._shut_out = True
        return LogUnavailable(
            f"another process joined group {self._group!r} as {self._name!r}: this one goes on under another"
        )

    def _begin_again(self) -> None:
        self.close()
        self._name = f"{self._name[: NAME_LENGTH_MAX - 9]}-{secrets.token_hex(4)}"
        self._listener = Listener()
        self._committed, self._filled = {}, set()
        self._join()
        self._shut_out = False

    def _join(self) -> None:
        self._consumer = join(self._access, self._group, self._name, self._topics, self._listener)
        self._sight = workarounds.Sight(self._consumer, self._topics, self._access.timing.known_within_s)

    def _owned(self) -> set[Tp]:
        return set(self._consumer.assignment() or ())

    @property
    def _request_ms(self) -> int:
        return round(self._access.timing.request_timeout_s * 1000)


def record_of(read: Any, erased: ErasedKeys | None) -> Record:
    """Convert the library's record; an erased person's as the port defines.

    Another program's record may lack a key or a value, or have no text in it.
    """
    key = "" if read.key is None else read.key.decode(errors="replace")
    if erased is not None and (pseudonym := erased.pseudonym(key, read.timestamp)) is not None:
        return Record(read.topic, read.partition, read.offset, pseudonym, b"{}", (), read.timestamp)
    headers = tuple((name, b"" if value is None else value) for name, value in read.headers)
    value = b"" if read.value is None else read.value
    return Record(read.topic, read.partition, read.offset, key, value, headers, read.timestamp)
