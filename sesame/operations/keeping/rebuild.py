"""Rebuild a lost store: first names, then the log's facts, then targets' state.

The names of the erased, remembered by the persons' keys, and those of the directory's students come before
any account, so no student gets another's. The log's facts make persons and accounts, as in the registry.
Existing objects are then adopted (`questions.adoption`); those that the directory shows as ours are activated
without a password; those shut become questions, as after a restore (`questions.restored`). Nothing is written
to a target.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Protocol

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from consumers.directory import NAME as DIRECTORY
from consumers.directory.objects import EntryObject
from consumers.registry.people import People
from pipeline import accounts, audit
from pipeline.db.scratch import ScratchDatabase
from pipeline.eventlog.port import EventLog, Record
from pipeline.facts import RECORDS_PER_TRANSACTION, Fact, Rejected
from producers.registrar.feed import SEQUENCES_PER_IMPORT
from producers.registrar.import_runs import SqlImports
from schemas import catalogue
from schemas.envelope import SOURCE_PREFIX, EnvelopeError, Message, event_id, from_record, to_record
from schemas.events import ActivationRequested, CredentialChanged, Event, PreferenceChanged, RegistrarFact
from sesame.acts import life
from sesame.acts.acts import ADMINISTRATORS, Actor, Report, act
from sesame.acts.ports import Adopting, Restored
from sesame.operations.identities.name_reservation import reserve_names
from sesame.operations.keeping.backup.acts import person_keys
from sesame.operations.keeping.backup.copies import put_back
from sesame.operations.questions.adoption import acts as adoption
from sesame.operations.questions.restored import inspection

EMITTER: Final = "rebuilt"
_GROUP: Final = "rebuild"
_PAGE: Final = 200
_QUIET_S: Final = 10.0  # a log without new records for so long is at its end
_BULK: Final = catalogue.both_lanes(catalogue.ACTIVATIONS)[1]
"""Rebuilt work is bulk: no student waits for it, and it has no window."""


class Rebuilding(Adopting, Restored, Protocol):
    """The targets, the store and the log."""

    @property
    def log(self) -> EventLog:
        """The log, to read from its beginning."""


class RebuildRequest(BaseModel):
    """`write`: rebuild; else only report the sources of a rebuild."""

    write: bool = False


class Rebuilt(Report):
    """The sources of a rebuilt store, or of one to rebuild.

    Attributes:
        written: whether it was rebuilt.
        facts: in the log, by type; None: the log was not read, since others work with this store already.
        refused: of these, facts that could not be applied, by cause.
        entries: of the directory that Sésame has written.
        activated: of these, with an account again by what the directory shows.
        accounts: in all, that have a holder again and were not erased.
        unknown: of these, without a fact in the log: import the registrar's next file, then repeat this.
        questions: of the adoption, by kind.
        asked: students whom a target shows shut for an unknown reason: `sesame restored list`.
    """

    written: bool
    facts: Mapping[str, int] | None
    refused: Mapping[str, int] = Field(default_factory=dict)
    entries: int
    activated: int = 0
    accounts: int = 0
    unknown: int = 0
    questions: Mapping[str, int] = Field(default_factory=dict)
    asked: tuple[str, ...] = ()


@act("restored.rebuild", ADMINISTRATORS)
def rebuild(
    site: Rebuilding, actor: Actor, request: RebuildRequest, *, progress: Callable[[str], None]
) -> Rebuilt:
    """Rebuild a lost store from the log and the targets. Repeating it adds what is new.

    Raises:
        TargetDown, Misconfigured: a target cannot be read; what was made stays, and no process may write to a
            target: repeat it.
        StoreUnavailable, LogUnavailable: likewise.
    """
    with site.database.read() as connection:
        empty = not People(site.database).anybody(connection)
        found = life.look(connection)
    from_log = empty or (found is not None and bool(found.shut_why))
    if not request.write:
        facts = Counter(message.event.type for _, message in _facts(site.log)) if from_log else None
        progress(DIRECTORY)
        with site.directory() as directory:
            entries = sum(_ours(entry) for entry in directory.objects())
        return Rebuilt(written=False, facts=facts and dict(facts), entries=entries)
    if from_log:
        _shut(site)
    progress("names")
    keys = person_keys(site)
    if keys.path.exists():
        erased = keys.destroyed()
        site.database.transact(lambda connection: put_back(connection, site.database, erased))
    with site.directory() as directory:
        reserve_names(directory.objects(), site.database)
    facts, refused = None, Counter[str]()
    if from_log:
        progress("log")
        facts, refused = _replay(site)
    adopted = adoption.adopt(
        site, actor, adoption.AdoptionRequest(), clock=lambda: datetime.now(UTC), progress=progress
    )
    progress("accounts")
    entries, activated, unknown = _activate(site)
    checked = inspection.check(site, actor, progress)
    report = Rebuilt(
        written=True,
        facts=None if facts is None else dict(facts),
        refused=dict(refused),
        entries=entries,
        activated=activated,
        accounts=sum(map(len, accounts.number_pages(site.database, *accounts.LIVE, size=_PAGE))),
        unknown=unknown,
        questions=adopted.questions,
        asked=checked.asked,
    )
    with site.database.write() as connection:
        detail = report.model_dump(exclude={"asked"}) | {"asked": len(report.asked)}
        audit.note(connection, site.database, actor=actor.name, action="restored.rebuild", detail=detail)
    return report


def _shut(site: Rebuilding) -> None:
    def shut(connection: Connection) -> None:
        life.of(connection, site.database)
        life.shut(
            connection,
            "it is being made again (sesame restored rebuild)",
            site.database.now(connection),
        )

    site.database.transact(shut)


# --- the log ---


class _Acts(ScratchDatabase):
    """Acts of both lanes in time order: a hold and its lift may be in different lanes."""

    schema = """CREATE TABLE acts (
        timestamp_ms INTEGER, topic TEXT, partition INTEGER, at INTEGER, key TEXT, headers BLOB, value BLOB
    );"""

    def fill(self, records: Iterable[Record]) -> None:
        self._db.execute("BEGIN")
        for r in records:
            row = r.timestamp_ms, r.topic, r.partition, r.offset, r.key, _packed(r), r.value
            self._db.execute("INSERT INTO acts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._db.execute("COMMIT")

    def in_order(self) -> Iterator[Record]:
        rows = self._db.execute(
            "SELECT topic, partition, at, key, value, headers, timestamp_ms FROM acts"
            " ORDER BY timestamp_ms, topic, partition, at"
        )
        for topic, partition, at, key, value, headers, timestamp_ms in rows:
            yield Record(topic, partition, at, key, value, _unpacked(headers), timestamp_ms)


def _packed(record: Record) -> bytes:
    return b"\0".join(part for name, value in record.headers for part in (name.encode(), value))


def _unpacked(packed: bytes) -> tuple[tuple[str, bytes], ...]:
    parts = packed.split(b"\0") if packed else []
    return tuple((name.decode(), value) for name, value in zip(parts[::2], parts[1::2], strict=True))


def _facts(log: EventLog) -> Iterator[tuple[Record, Message]]:
    """The registrar's facts, then all acts, as far back as the log reaches."""
    with _Acts() as acts:
        acts.fill(_records(log, catalogue.both_lanes(catalogue.ACTIVATIONS)))
        for records in (_records(log, [catalogue.ENROLMENTS]), acts.in_order()):
            for record in records:
                try:
                    yield record, from_record(record.key, record.headers, record.value)
                except EnvelopeError:  # it was dead-lettered then
                    continue


def _records(log: EventLog, topics: Sequence[str]) -> Iterator[Record]:
    ends = {tp: end for topic in topics for tp, end in log.end_offsets(topic).items() if end}
    consumer = log.consumer(_GROUP, topics, member=f"{_GROUP}-{os.getpid()}")
    try:
        while ends and (records := consumer.poll(RECORDS_PER_TRANSACTION, _QUIET_S)):
            for record in records:
                yield record
                if record.offset + 1 >= ends.get(record.tp, 0):
                    ends.pop(record.tp, None)
    finally:
        consumer.close()


def _replay(site: Rebuilding) -> tuple[Counter[str], Counter[str]]:
    """Apply the log's facts in batches; count those read, and those refused by cause."""
    read, refused, sequence = Counter[str](), Counter[str](), 0
    facts = _facts(site.log)
    while page := list(islice(facts, RECORDS_PER_TRANSACTION)):
        for _, message in page:
            read[message.event.type] += 1
            if isinstance(message.event, RegistrarFact):
                sequence = max(sequence, message.event.source_sequence)

        def apply(connection: Connection, page: Sequence[tuple[Record, Message]] = page) -> Counter[str]:
            causes = Counter[str]()
            for record, message in page:
                event = _without_vault(message.event)
                if event is None:
                    causes["vault"] += 1
                    continue
                try:
                    with connection.begin_nested():
                        _handle(site, connection, record, replace(message, event=event))
                except Rejected as error:
                    causes[error.cause] += 1
            return causes

        refused += site.database.transact(apply)
    # The next file is newer than what the log has, whatever imports this store remembers.
    SqlImports(site.database).go_on_above(sequence // SEQUENCES_PER_IMPORT)
    return read, refused


def _without_vault(event: Event) -> Event | None:
    """The fact without what the lost vault held; None: nothing is left of it."""
    match event:
        case ActivationRequested():
            return event.model_copy(update={"credential_ref": None})
        case CredentialChanged():
            return None
        case PreferenceChanged(value_ref=str()):
            return None
    return event


def _handle(site: Rebuilding, connection: Connection, record: Record, message: Message) -> None:
    if record.topic != catalogue.ENROLMENTS:
        message = replace(message, time=datetime.now(UTC))
        headers, value = to_record(message)
        record = record._replace(topic=_BULK, headers=headers, value=value)
    site.registry.handle(connection, [Fact(record, message)])


# --- the directory ---


def _ours(entry: EntryObject) -> bool:
    """Whether Sésame wrote this entry, and its student is certain."""
    return entry.version > 0 and len(entry.student_numbers) == 1


def _activate(site: Rebuilding) -> tuple[int, int, int]:
    """Activate accounts with an entry of ours: no password, at the entry's version."""
    entries, activated, unknown = 0, 0, 0
    with site.directory() as directory:
        ours = (entry for entry in directory.objects() if _ours(entry))
        while page := {entry.student_numbers[0].strip(): entry.version for entry in islice(ours, _PAGE)}:

            def bring(connection: Connection, page: Mapping[str, int] = page) -> tuple[int, int]:
                known = People(site.database).known_among(connection, list(page))
                new = 0
                for number, version in page.items():
                    if number not in known:
                        continue
                    if known[number].activated_at is None:
                        _handle(site, connection, *_activation(number))
                        new += 1
                    site.registry.overtake(connection, number, version)
                return new, len(page) - len(known)

            new, strangers = site.database.transact(bring)
            entries, activated, unknown = entries + len(page), activated + new, unknown + strangers
    return entries, activated, unknown


def _activation(number: str) -> tuple[Record, Message]:
    event = ActivationRequested(student_number=number)
    identity = event_id(event.type, EMITTER, number)
    message = Message(identity, SOURCE_PREFIX + EMITTER, datetime.now(UTC), event)
    headers, value = to_record(message)
    return Record(_BULK, 0, 0, number, value, headers, int(message.time.timestamp() * 1000)), message
