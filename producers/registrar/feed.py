"""What a feed has published, and the publishing of more.

Order of effects, batch by batch: the facts are written down as intended, appended to the log, and
confirmed once the log has acknowledged them. A crash anywhere leaves the last batch in doubt, and the next
import publishes those rows again: under the same event ids where the file says the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.eventlog.port import LogUnavailable, NewRecord, Producer
from producers.registrar.report import ImportDetail
from schemas.catalogue import ENROLMENTS
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import EnrolmentCancelled, EnrolmentRecorded, RegistrarFact

StepKey = tuple[str, int, str, str]
"""Key of an enrolment: student number, year, step, step version."""


class Published(NamedTuple):
    """The last fact of one enrolment that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, it is unknown whether the
    log has it. `live`: the registrar held the enrolment. `outline`: as given with the fact; None: not kept
    then.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    live: bool
    outline: str | None


class Intended(NamedTuple):
    """A fact that is about to be appended."""

    key: StepKey
    fingerprint: str
    sequence: int
    base: int
    live: bool
    outline: str


Listed = Mapping[tuple[str, str], str]
"""A list: unit and group (empty: none) to the unit's name (empty: none)."""

YearKey = tuple[str, int]
"""Key of a list: student number and year."""


class PublishedList(NamedTuple):
    """The last list of one student's year that was handed to the log.

    `base` is the sequence of the fact before it (0: none). Without `confirmed`, it is unknown whether the
    log has it.
    """

    fingerprint: str
    sequence: int
    base: int
    confirmed: bool
    listed: Listed


class IntendedList(NamedTuple):
    """A list that is about to be appended."""

    key: YearKey
    fingerprint: str
    sequence: int
    base: int
    listed: Listed


EMITTER = "registrar"
SEQUENCES_PER_IMPORT = 100_000_000
"""A source sequence is the import's id times this, plus the line's number."""

APPEND_ATTEMPTS_MAX = 5
APPEND_WAIT_S_MAX = 5.0

_Intent = TypeVar("_Intent")
_Intent_contra = TypeVar("_Intent_contra", contravariant=True)
_Intent_co = TypeVar("_Intent_co", covariant=True)


class ImportMemory(Protocol[_Intent_contra]):
    """The runs of imports, and what each is about to publish. Durable; `import_runs` keeps it.

    **Order.** Import ids only grow. **Fencing.** Once a newer import of a source has begun, `intend` refuses
    the older one. **Failure.** Every method raises `StoreUnavailable` when the database cannot be used.
    """

    def begin(
        self, source: str, *, file_name: str, started_at: float, detail: ImportDetail | None = None
    ) -> int:
        """Begin an import; return its id. `started_at`: seconds since the epoch, UTC."""

    def note_failed(self, source: str, *, file_name: str, started_at: float, detail: ImportDetail) -> None:
        """Record an import that ended before it began."""

    def approve(self, import_id: int, *, actor: str, detail: Mapping[str, object]) -> None:
        """Record permanently who approved this import. Raises `ImportSuperseded`."""

    def approver_of(self, source: str, approval: str, since: float) -> str | None:
        """Who approved what was held under this id since then (epoch seconds).

        None: no operator has, or it was published since.
        """

    def people(self, source: str) -> Mapping[int, int]:
        """Count the students with an enrolment, or a list, of `source`, by academic year."""

    def intend(self, import_id: int, source: str, rows: Sequence[_Intent_contra]) -> None:
        """Record what is about to be appended. Raises `ImportSuperseded`."""

    def confirm(self, import_id: int, through_sequence: int) -> None:
        """Record that the log has all of this import up to this source sequence."""

    def finish(
        self,
        import_id: int,
        *,
        finished_at: float,
        summary: Mapping[str, int],
        detail: ImportDetail | None = None,
    ) -> None:
        """Record that the import is complete. `finished_at`: seconds since the epoch, UTC."""

    def break_off(self, import_id: int, detail: ImportDetail) -> None:
        """Record that the import is incomplete; `detail` says why."""


class FeedMemory(ImportMemory[Intended], Protocol):
    """What each feed of enrolments has published; see `feed_memory.SqlFeedMemory`."""

    def published(self, source: str, students: Collection[str]) -> Mapping[StepKey, Published]:
        """What `source` has published, or may have, about these students."""

    def lost(self, source: str, since: float) -> Mapping[int, int]:
        """Count students who lost all that `source` held, by academic year.

        Since then (epoch seconds), and since an operator last approved an import; those who have something
        again are left out.
        """

    def sources(self) -> Sequence[str]:
        """Every feed that was ever imported."""

    def accepted(self) -> Collection[tuple[str, str]]:
        """Student numbers, with digests of damaged-looking values accepted as right."""

    def accept(self, import_id: int, values: Collection[tuple[str, str]], *, actor: str) -> None:
        """Record permanently that these values are right, and who decided it.

        Raises `ImportSuperseded`.
        """

    def live_steps(self, source: str, year: int) -> Iterator[Sequence[StepKey]]:
        """Every enrolment of the year that `source` holds, some hundreds at a time."""


class TeachingMemory(ImportMemory[IntendedList], Protocol):
    """What each feed of teaching units and groups has published.

    See `producers.registrar.teachings.feed_memory.SqlTeachingMemory`.
    """

    def published(self, source: str, students: Collection[str]) -> Mapping[YearKey, PublishedList]:
        """The lists that `source` has published, or may have, of these students."""

    def listed_students(self, source: str, year: int) -> Iterator[Sequence[str]]:
        """Students with a list of `source` in that year, some hundreds at a time."""

    def enrolled(self, students: Collection[str]) -> Collection[YearKey]:
        """The years in which any feed has these students enrolled."""


class UnpublishedFact(Protocol[_Intent_co]):
    """A fact that the log does not have yet."""

    @property
    def line(self) -> int:
        """Its line in the file; absent ones come after the last line."""

    def intended(self, sequence: int) -> _Intent_co:
        """The row to record before appending. `sequence`: the fact's source sequence."""

    def record(self, source: str, sequence: int, time: datetime) -> NewRecord:
        """The record to append."""


def base_after(before: Published | PublishedList | None, fingerprint: str) -> int:
    """The base of a fact; a repeated fact keeps its base, and so its event id."""
    if before is None:
        return 0
    return before.base if before.fingerprint == fingerprint else before.sequence


def new_record(event: RegistrarFact, identity: tuple[str | int, ...], time: datetime) -> NewRecord:
    """The log's record of a fact.

    Args:
        identity: with the type and the source, what makes it the same fact when it is published again.
        time: of the fact, with a zone.
    """
    headers, value = to_record(
        Message(
            id=event_id(event.type, EMITTER, event.source, *identity),
            source=SOURCE_PREFIX + EMITTER,
            time=time,
            event=event,
        )
    )
    return NewRecord(ENROLMENTS, event.student_number, value, headers)


def fact_id(source: str, key: StepKey, published: Published) -> str:
    """The event id of the last fact of an enrolment."""
    kind = EnrolmentRecorded if published.live else EnrolmentCancelled
    return event_id(kind.type, EMITTER, source, *key, published.fingerprint, str(published.base))


class Publisher(Generic[_Intent]):
    """Publishes one import's changes, batch by batch, in the order of their lines.

    Args:
        import_id: as the memory gave it.
        source: the feed's name.
        started_at: the facts' time, with a zone.
        memory: remembers what was published.
        producer: appends to the log.
        sleep: waits between two attempts to append; seconds.

    Attributes:
        published: how many facts the log has acknowledged.
    """

    def __init__(
        self,
        *,
        import_id: int,
        source: str,
        started_at: datetime,
        memory: ImportMemory[_Intent],
        producer: Producer,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.import_id = import_id
        self._source = source
        self._started_at = started_at
        self._memory = memory
        self._producer = producer
        self._sleep = sleep
        self.published = 0

    def publish(self, changes: Iterable[UnpublishedFact[_Intent]]) -> None:
        """Append these facts, and record that they were appended.

        Raises:
            ImportSuperseded: a newer import continues alone; nothing of this batch was appended.
            LogUnavailable: the log did not take them in several attempts; they are in doubt.
            StoreUnavailable: they are in doubt.
        """
        batch = list(changes)
        if not batch:
            return
        sequences = [self.import_id * SEQUENCES_PER_IMPORT + change.line for change in batch]
        intended = [change.intended(sequence) for change, sequence in zip(batch, sequences, strict=True)]
        records = [
            change.record(self._source, sequence, self._started_at)
            for change, sequence in zip(batch, sequences, strict=True)
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
        self.published += len(batch)
        self._memory.confirm(self.import_id, sequences[-1])
