"""Shared by the registry's tests: a temporary store, a settable clock, facts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select

from consumers.propagation import rows as propagated
from consumers.propagation.rows import propagation
from consumers.registry.erasure.privacy_key import PrivacyKey
from consumers.registry.handler import Registry
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.closings import Plan
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.warnings import EndNotices
from consumers.registry.people import KnownPerson, People
from consumers.registry.settings import EsiRules, RegistrySettings
from pipeline import accounts, target_states
from pipeline.db.database import Database
from pipeline.dead_letters.rows import DeadLetter, unresolved
from pipeline.eventlog.port import NewRecord, Record
from pipeline.facts import Fact
from pipeline.outbox import outbox
from pipeline.timers import run_due, timers
from pipeline.vault import Vault, new_key
from schemas import catalogue
from schemas.account import Account, Administrative, Lane, Pedagogical
from schemas.envelope import Message, event_id, from_record, to_record
from schemas.events import (
    AccountChanged,
    ActivationRequested,
    EnrolmentCancelled,
    EnrolmentRecorded,
    Event,
    RegistrarFact,
    Teaching,
    TeachingsRecorded,
)

SETTINGS = RegistrySettings(mail_domain="etu.univ-exemple.fr", grace_days=30)
START = datetime(2026, 9, 14, 8, 0, tzinfo=UTC)
LEA, PAUL = "22001234", "22005678"


@dataclass
class Clock:
    """A time that changes only when a test sets it."""

    now: float = START.timestamp()

    def __call__(self) -> float:
        return self.now

    def set(self, moment: datetime) -> None:
        self.now = moment.timestamp()


@dataclass
class RegistryHarness:
    """A registry at work on the store that `url` names."""

    url: str
    settings: RegistrySettings = SETTINGS
    clock: Clock = field(default_factory=Clock)
    rules: LifecycleSettings = field(default_factory=LifecycleSettings)
    services: tuple[str, ...] = ()
    notices: EndNotices | None = None
    esi: EsiRules | None = None
    privacy: PrivacyKey = field(default_factory=lambda: PrivacyKey(new_key()))

    def __post_init__(self) -> None:
        self.database = Database(self.url, clock=self.clock)
        self.vault = Vault(self.database, [new_key()], clock=self.clock)
        self.registry = Registry(
            self.database,
            self.vault,
            self.settings,
            propagated=propagated,
            rules=self.rules,
            services=self.services,
            notices=self.notices,
            privacy=self.privacy,
            esi=self.esi,
        )
        self.people = People(self.database)
        self._offsets = itertools.count()

    def apply(
        self, event: Event, topic: str | None = None, *, at: datetime | None = None, tag: str = ""
    ) -> Message:
        """Let the registry apply a fact in one transaction, as its loop does."""
        topic = topic or _topic_of(event)
        moment = at or datetime.fromtimestamp(self.clock(), UTC)
        identity = event_id(event.type, "test", tag or str(next(self._offsets)))
        message = Message(identity, "/sesame/test", moment, event)
        self.redeliver(message, topic)
        return message

    def redeliver(self, message: Message, topic: str | None = None) -> None:
        with self.database.write() as connection, connection.begin_nested():
            self.registry.handle(connection, [self.fact(message, topic)])

    def fact(self, message: Message, topic: str | None = None) -> Fact:
        """This message as the loop reads it from the log."""
        headers, value = to_record(message)
        topic, key = topic or _topic_of(message.event), message.event.student_number
        record = Record(topic, 0, next(self._offsets), key, value, headers, 0)
        return Fact(record, from_record(key, headers, value))

    def account(self, student_number: str = LEA) -> Account:
        found = self.maybe_account(student_number)
        assert found is not None, f"{student_number} has no account"
        return found

    def maybe_account(self, student_number: str = LEA) -> Account | None:
        with self.database.read() as connection:
            return accounts.find(connection, student_number)

    def person(self, student_number: str = LEA) -> KnownPerson:
        with self.database.read() as connection:
            found = self.people.known(connection, student_number)
        assert found is not None, f"{student_number} is not known"
        return found

    def letters(self, student_number: str = LEA) -> list[DeadLetter]:
        with self.database.read() as connection:
            return unresolved(connection, consumer="registry", student_number=student_number)

    def announced(self, student_number: str = LEA) -> list[tuple[str, AccountChanged]]:
        """Topic and event of each `account.changed` of this student, in writing order."""
        with self.database.read() as connection:
            rows = connection.execute(
                select(outbox).where(outbox.c.key == student_number).order_by(outbox.c.id)
            ).all()
        read = [(row.topic, from_record(row.key, _headers(row.headers), row.value).event) for row in rows]
        return [(topic, event) for topic, event in read if isinstance(event, AccountChanged)]

    def seal(self, secret: str, student_number: str = LEA, purpose: str = "password") -> str:
        with self.database.write() as connection:
            return self.vault.seal(connection, student_number, purpose, secret)

    def propagated(self, state: str, version: int, *, completed_version: int = 0) -> None:
        """Simulate an outcome recorded by the propagation consumer."""
        values = {
            "student_number": LEA,
            "version": version,
            "lane": "personal",
            "opened_at": self.clock(),
            "state": state,
            "completed_version": completed_version,
        }
        with self.transaction() as connection:
            connection.execute(propagation.delete())
            connection.execute(insert(propagation).values(**values))

    def pass_time(self, day: date, after_each: Callable[[], None] = lambda: None) -> None:
        """Let every timer ring, each in its turn, up to the end of this day."""
        end = datetime.combine(day, time(23, 59), UTC).timestamp()
        while True:
            with self.database.read() as connection:
                soonest = connection.scalar(select(func.min(timers.c.due_at)))
            if soonest is None or soonest > end:
                self.clock.now = end
                return
            self.clock.now = max(self.clock.now, soonest)
            run_due(self.database, self.registry.timers())
            after_each()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.database.write() as connection:
            yield connection


def enrolled(student_number: str = LEA, sequence: int = 1, **more: Any) -> EnrolmentRecorded:
    """The registrar's fact about Léa Martin in L1 Informatique, with these changes."""
    values: dict[str, Any] = {
        "student_number": student_number,
        "source": "apogee",
        "source_sequence": sequence,
        "year": 2026,
        "step": "L1INFO",
        "step_version": "261",
        "step_label": "Licence 1 Informatique",
        "component": "SCI",
        "primary": True,
        "administrative": Administrative.IN_FORCE,
        "pedagogical": Pedagogical.VALIDATED,
        "birth_name": "Martin",
        "given_name": "Léa",
        "birth_date": date(2007, 5, 4),
    }
    return EnrolmentRecorded(**{**values, **more})


def cancelled(student_number: str = LEA, sequence: int = 2, **more: Any) -> EnrolmentCancelled:
    values: dict[str, Any] = {
        "student_number": student_number,
        "source": "apogee",
        "source_sequence": sequence,
        "year": 2026,
        "step": "L1INFO",
        "step_version": "261",
        "reason": "absent_from_export",
    }
    return EnrolmentCancelled(**{**values, **more})


def taught(
    *units: str, student_number: str = LEA, sequence: int = 1, year: int = 2026, source: str = "groups"
) -> TeachingsRecorded:
    """The registrar's list of a student's year: `UE1` a unit, `UE1/TD2` its group."""
    teachings = tuple(
        Teaching(element=element, group=group or None, label=f"Cours {element}")
        for element, _, group in (unit.partition("/") for unit in units)
    )
    return TeachingsRecorded(
        student_number=student_number,
        source=source,
        source_sequence=sequence,
        year=year,
        teachings=teachings,
    )


def activation(student_number: str = LEA, **more: Any) -> ActivationRequested:
    return ActivationRequested(student_number=student_number, **more)


def unlike_others(number: str = LEA, **more: Any) -> EnrolmentRecorded:
    """The registrar's fact about somebody whom nobody resembles."""
    n = int(number) % 10_000
    name = "".join(chr(ord("a") + int(digit)) for digit in str(n)) * 3
    born = date(1990, 1, 1) + timedelta(days=n)
    return enrolled(number, birth_name=name.title(), given_name=name[::-1].title(), birth_date=born, **more)


def provisioned(desk: RegistryHarness, number: str, *targets: str) -> None:
    """As if these targets had something of the student."""
    with desk.transaction() as connection:
        for target in targets:
            target_states.lease(
                connection, desk.database, target, {number: 1}, owner="test", until=desk.clock()
            )


def held_plans(desk: RegistryHarness) -> list[Plan]:
    """What the guard holds."""
    with desk.database.read() as connection:
        return closings.held(connection)


def record_of(
    fact: Event, emitter: str, *identity: object, at: float, lane: Lane = Lane.PERSONAL
) -> NewRecord:
    """A fact as its emitter puts it on the log; `identity`: what makes its id its own."""
    moment = datetime.fromtimestamp(at, UTC)
    name = event_id(fact.type, emitter, *map(str, identity))
    headers, value = to_record(Message(name, f"/sesame/{emitter}", moment, fact))
    return NewRecord(_topic_of(fact, lane), fact.student_number, value, headers)


def _topic_of(event: Event, lane: Lane = Lane.PERSONAL) -> str:
    registrar = isinstance(event, RegistrarFact)
    return catalogue.ENROLMENTS if registrar else catalogue.by_lane(catalogue.ACTIVATIONS, lane)


def _headers(text: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode()) for name, value in json.loads(text))
