"""What a feed has published, and how it publishes more.

Order of effects, batch by batch: the facts are written down as intended, appended to the log, and confirmed
once the log has acknowledged them. A crash anywhere leaves the last batch in doubt, and the next import
publishes those rows again: under the same event ids where the file says the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.eventlog.port import LogUnavailable, NewRecord, Producer
from pipeline.store.feeds import Intended, Published, StepKey
from producers.registrar.spool import Spooled
from schemas.catalogue import ENROLMENTS
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import EnrolmentCancelled, EnrolmentRecorded

EMITTER = "registrar"
SEQUENCES_PER_IMPORT = 100_000_000
"""A source sequence is the import's id times this, plus the line's number."""

APPEND_ATTEMPTS_MAX = 5
APPEND_WAIT_S_MAX = 5.0


class FeedMemory(Protocol):
    """What each feed has published. Durable; `pipeline.store.feeds.SqlFeedMemory` keeps it in the database.

    **Order.** Import ids only grow. **Fencing.** Once a newer import of a source has begun, `intend` refuses
    the older one. **Failure.** Every method raises `StoreUnavailable` when the database cannot be used.
    """

    def begin(self, source: str, *, file_name: str, started_at: float) -> int:
        """A new import; its id. `started_at`: seconds since the epoch, UTC."""

    def published(self, source: str, students: Collection[str]) -> Mapping[StepKey, Published]:
        """What `source` has published, or may have, about these students."""

    def people(self, source: str) -> Mapping[int, int]:
        """How many students `source` holds an enrolment of, by academic year."""

    def sources(self) -> Sequence[str]:
        """Every feed that was ever imported."""

    def live_steps(self, source: str, year: int) -> Iterator[Sequence[StepKey]]:
        """Every enrolment of that academic year that `source` holds, some hundreds at a time."""

    def approve(self, import_id: int, *, actor: str, detail: Mapping[str, object]) -> None:
        """Note for ever who let this import go on. Raises `ImportSuperseded`."""

    def intend(self, import_id: int, source: str, rows: Sequence[Intended]) -> None:
        """Write down what is about to be appended. Raises `ImportSuperseded`."""

    def confirm(self, import_id: int, through_sequence: int) -> None:
        """The log has everything of this import up to this source sequence."""

    def finish(self, import_id: int, *, finished_at: float, summary: Mapping[str, int]) -> None:
        """The import ran to its end. `finished_at`: seconds since the epoch, UTC."""


@dataclass(frozen=True, slots=True)
class ToPublish:
    """A fact that the log does not have yet.

    Attributes:
        base: source sequence of the fact before it; 0: none.
        outline: what to recall of it.
    """

    spooled: Spooled
    base: int
    outline: str


class Publisher:
    """Publishes one import's changes, batch by batch, in the order of their lines.

    Args:
        import_id: as the memory gave it.
        source: the feed's name.
        started_at: the facts' time, with a zone.
        memory: remembers what was published.
        producer: appends to the log.
        sleep: waits between two attempts to append; seconds.
    """

    def __init__(
        self,
        *,
        import_id: int,
        source: str,
        started_at: datetime,
        memory: FeedMemory,
        producer: Producer,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.import_id = import_id
        self._source = source
        self._started_at = started_at
        self._memory = memory
        self._producer = producer
        self._sleep = sleep

    def publish(self, changes: Iterable[ToPublish]) -> None:
        """Append these facts, and remember that they were.

        Raises:
            ImportSuperseded: a newer import goes on alone; nothing of this batch was appended.
            LogUnavailable: the log did not take them in several attempts; they are in doubt.
            StoreUnavailable: they are in doubt.
        """
        batch = list(changes)
        if not batch:
            return
        intended = [self._intend(change) for change in batch]
        records = [
            self._record(change.spooled, intent) for change, intent in zip(batch, intended, strict=True)
        ]
        self._memory.intend(self.import_id, self._source, intended)
        for attempt in Retrying(
            retry=retry_if_exception_type(LogUnavailable),
            stop=stop_after_attempt(APPEND_ATTEMPTS_MAX),
            wait=wait_random_exponential(multiplier=0.2, max=APPEND_WAIT_S_MAX),
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                self._producer.append(records)
        self._memory.confirm(self.import_id, intended[-1].sequence)

    def _intend(self, change: ToPublish) -> Intended:
        spooled = change.spooled
        sequence = self.import_id * SEQUENCES_PER_IMPORT + spooled.line
        return Intended(
            spooled.step_key,
            spooled.fingerprint,
            sequence,
            change.base,
            live=not spooled.cancelled,
            outline=change.outline,
        )

    def _record(self, spooled: Spooled, intent: Intended) -> NewRecord:
        model = EnrolmentCancelled if spooled.cancelled else EnrolmentRecorded
        event = model.model_validate(
            {**spooled.fact, "source": self._source, "source_sequence": intent.sequence}
        )
        identity = event_id(
            model.type, EMITTER, self._source, *intent.key, intent.fingerprint, str(intent.base)
        )
        headers, value = to_record(
            Message(id=identity, source=SOURCE_PREFIX + EMITTER, time=self._started_at, event=event)
        )
        return NewRecord(ENROLMENTS, spooled.student, value, headers)
