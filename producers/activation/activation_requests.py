"""Activation by command: hash, seal, record the intent, publish, confirm.

It works in batches, so that events flow early. A request is **intended**, with its sealed password in the
same transaction, before its event is appended to the log, and **confirmed** once the log has acknowledged it.
After a crash the unconfirmed ones are published again under the same event id, which readers recognise. A
student's window opens at the event's time, which is that of the intent.

A student with an earlier request is skipped and counted: the same list again publishes nothing. A number that
the registry does not know is published all the same, since the import may still be under way: the registry
keeps the fact until the enrolment comes, and dead-letters it by age; the report names these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

from sqlalchemy import Connection

from pipeline.db.database import Database
from pipeline.eventlog.port import NewRecord, Producer
from pipeline.vault import SealBroken, Vault
from producers.activation.files import StudentListUnusable, is_student_number
from producers.activation.hashes import THREADS, Hasher, HashingSettings
from producers.activation.known_students import Asked, KnownStudents
from producers.activation.request_rows import ActivationRequest, confirm, find, intend
from schemas import catalogue
from schemas.account import Lane
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import ActivationRequested

NAME = "activation"
STUDENTS_PER_BATCH = 50


@dataclass
class ActivationReport:
    """Result of a run.

    Attributes:
        requested: events published by this run.
        already: students skipped, since they were requested before.
        without_password: of those requested, how many have no password: they cannot log in yet.
        not_known_yet: the numbers that the registry does not know, requested now or before.
        repeated: numbers that the list named more than once.
    """

    requested: int = 0
    already: int = 0
    without_password: int = 0
    repeated: int = 0
    not_known_yet: list[str] = field(default_factory=list)


def activate(
    students: Iterable[str],
    passwords: Mapping[str, str],
    *,
    lane: Lane,
    known: KnownStudents,
    database: Database,
    vault: Vault,
    producer: Producer,
    clock: Callable[[], datetime],
    hashing: HashingSettings | None = None,
    language: Literal["fr", "en"] | None = None,
    republish: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _students: None,
) -> ActivationReport:
    """Request these students' accounts.

    Args:
        students: their numbers; read lazily, so that a whole university fits.
        passwords: by student number. Those of others are not used.
        lane: PERSONAL for named students and lists, BULK for all at once.
        known: who is known, and what they requested.
        vault: keeps the hashes.
        producer: appends to the log.
        clock: the time, with a zone.
        hashing: what a hash costs.
        language: of the messages that the students will get; None: the registrar's or the site's.
        republish: publish earlier requests that are not active yet once more, under the same event id, for a
            log that has lost them.
        dry_run: count only.
        progress: called with the number of students in each batch.

    Raises:
        StudentListUnusable: an entry is no student number; nothing of its batch was published.
        LogUnavailable, StoreUnavailable: retry; unconfirmed requests are published again.
    """
    activator = _Activator(
        passwords=passwords,
        lane=lane,
        known=known,
        database=database,
        vault=vault,
        producer=producer,
        clock=clock,
        hasher=Hasher(hashing or HashingSettings()),
        language=language,
        republish=republish,
        dry_run=dry_run,
    )
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hash") as pool:
        for batch in _batches(students, activator.report):
            activator.run(batch, pool)
            progress(len(batch))
    return activator.report


@dataclass(frozen=True)
class _Activator:
    passwords: Mapping[str, str]
    lane: Lane
    known: KnownStudents
    database: Database
    vault: Vault
    producer: Producer
    clock: Callable[[], datetime]
    hasher: Hasher
    language: Literal["fr", "en"] | None
    republish: bool
    dry_run: bool
    report: ActivationReport = field(default_factory=ActivationReport)

    def run(self, batch: Sequence[str], pool: ThreadPoolExecutor) -> None:
        with self.database.read() as connection:
            known = self.known.asked_by(connection, batch)
            before = find(connection, batch)
        wanted = [number for number in batch if not self._asked(number, known, before)]
        self.report.already += len(batch) - len(wanted)
        if not self.dry_run:
            again = {number: before[number] for number in wanted if self._stands(before.get(number))}
            fresh = [number for number in wanted if number not in again]
            hashes = self._hash(fresh, pool)
            requests = [*again.values(), *self._intend(fresh, hashes)]
            self._publish(requests)
        self.report.requested += len(wanted)
        self.report.without_password += sum(number not in self.passwords for number in wanted)
        self.report.not_known_yet += [number for number in batch if number not in known]

    def _asked(
        self, number: str, known: Mapping[str, Asked], before: Mapping[str, ActivationRequest]
    ) -> bool:
        """True if nothing remains to request: the student is active, or the log has it.

        A first password for a student without one is a reason to request; a further one is a change of
        password.
        """
        person, request = known.get(number), before.get(number)
        secured = (person is not None and person.credential_ref is not None) or (
            request is not None and request.credential_ref is not None
        )
        if number in self.passwords and not secured:
            return False
        if person is not None and person.activated_at is not None:
            return True
        return request is not None and request.confirmed_at is not None and not self.republish

    def _stands(self, request: ActivationRequest | None) -> bool:
        """True if an unconfirmed request still matches, password included."""
        if request is None:
            return False
        password = self.passwords.get(request.student_number)
        if password is None:
            return True
        if request.credential_ref is None:
            return False
        try:
            sealed = self.vault.open(request.credential_ref)
        except SealBroken:
            return False
        return sealed is not None and self.hasher.matches(sealed, password)

    def _hash(self, numbers: Sequence[str], pool: ThreadPoolExecutor) -> dict[str, str]:
        having = [number for number in numbers if number in self.passwords]
        hashes = pool.map(self.hasher.hash, (self.passwords[number] for number in having))
        return dict(zip(having, hashes, strict=True))

    def _intend(self, numbers: Sequence[str], hashes: Mapping[str, str]) -> list[ActivationRequest]:
        if not numbers:
            return []
        at = self.clock().timestamp()
        with self.database.write() as connection:
            requests = [self._request(connection, number, hashes.get(number), at) for number in numbers]
            intend(connection, self.database, requests)
        return requests

    def _request(
        self, connection: Connection, number: str, hashed: str | None, at: float
    ) -> ActivationRequest:
        ref = None
        if hashed is not None:
            ref = self.vault.seal_password(connection, number, hashed, self.passwords[number])
        return ActivationRequest(
            number, event_id(ActivationRequested.type, NAME, number, ref, str(at)), ref, at
        )

    def _publish(self, requests: Sequence[ActivationRequest]) -> None:
        if not requests:
            return
        self.producer.append([self._record(request) for request in requests])
        with self.database.write() as connection:
            ids = [request.event_id for request in requests]
            confirm(connection, ids, self.database.now(connection))

    def _record(self, request: ActivationRequest) -> NewRecord:
        event = ActivationRequested(
            student_number=request.student_number,
            credential_ref=request.credential_ref,
            language=self.language,
        )
        moment = datetime.fromtimestamp(request.intended_at, UTC)
        headers, value = to_record(Message(request.event_id, SOURCE_PREFIX + NAME, moment, event))
        topic = catalogue.by_lane(catalogue.ACTIVATIONS, self.lane)
        return NewRecord(topic, request.student_number, value, headers)


def _batches(students: Iterable[str], report: ActivationReport) -> Iterator[list[str]]:
    """The students in batches, each once."""
    seen: set[str] = set()

    def once() -> Iterator[str]:
        for number in students:
            if not is_student_number(number):
                raise StudentListUnusable(f"{number!r} is no student number")
            if number in seen:
                report.repeated += 1
            else:
                seen.add(number)
                yield number

    numbers = once()
    while batch := list(islice(numbers, STUDENTS_PER_BATCH)):
        yield batch
