"""Activation by command, on the embedded log and a store in a temporary folder, up to the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from pipeline.eventlog.port import LogUnavailable, NewRecord, Record, TopicPartition
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.facts import Fact
from pipeline.vault import Vault, new_key, plain_ref
from producers.activation.activation_requests import STUDENTS_PER_BATCH, ActivationReport, activate
from producers.activation.files import StudentListUnusable
from producers.activation.hashes import LANES, PASSES, HashingSettings
from schemas.account import Lane, Stage
from schemas.catalogue import ACTIVATIONS, BULK, both_lanes
from schemas.envelope import Message, from_record
from schemas.events import ActivationRequested
from sesame.testing.servers.narrowing import present
from sesame.testing.servers.registry_kit import LEA, PAUL, START, RegistryHarness, enrolled

CHEAP = HashingSettings(memory_kib=8_192)
WORDS = {LEA: "Tournesol-42", PAUL: "Cartésien-1637"}


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Office(RegistryHarness):
    """A desk with the embedded log, on which students are activated by command."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(url)
        self.log = SqliteEventLog(folder / "events.db", clock=self.clock)
        self.log.ensure_topics(dict.fromkeys(both_lanes(ACTIVATIONS), 1))
        self.producer = self.log.producer()

    def activate(
        self,
        *students: str,
        passwords: Mapping[str, str] | None = None,
        lane: Lane = Lane.PERSONAL,
        **more: Any,
    ) -> ActivationReport:
        return activate(
            students,
            WORDS if passwords is None else passwords,
            lane=lane,
            known=self.people,
            database=self.database,
            vault=self.vault,
            producer=self.producer,
            clock=lambda: START,
            hashing=CHEAP,
            **more,
        )

    def published(self) -> list[tuple[Record, Message]]:
        """Everything on both topics, from the beginning."""
        consumer = self.log.consumer("reader", both_lanes(ACTIVATIONS), member="test")
        consumer.poll(1, 0.0)
        for tp in consumer.assignment():
            consumer.seek(tp, 0)
        records = consumer.poll(1_000, 0.0)
        consumer.close()
        return [(record, from_record(record.key, record.headers, record.value)) for record in records]

    def deliver(self) -> None:
        """Let the registry read all of it."""
        for record, message in self.published():
            with self.transaction() as connection:
                self.registry.handle(connection, [Fact(record, message)])

    def close(self) -> None:
        self.producer.close()
        self.log.close()
        self.database.close()


class Unsure:
    """A log that may have taken a batch, and whose answer is lost."""

    def __init__(self, office: Office, *, taken: bool, fault: type[BaseException] = LogUnavailable) -> None:
        self._inner, self._taken, self._fault = office.producer, taken, fault

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        if self._taken:
            self._inner.append(records)
        raise self._fault

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def office(tmp_path: Path, store_url: str) -> Iterator[Office]:
    office = Office(tmp_path, store_url)
    yield office
    office.close()


def test_students_who_are_activated_with_a_password_get_it_sealed(office: Office) -> None:
    office.apply(enrolled())
    report = office.activate(LEA)
    assert (report.requested, report.already, report.without_password) == (1, 0, 0)
    [(record, message)] = office.published()
    assert (record.topic, record.key, message.time) == (ACTIVATIONS, LEA, START)
    assert isinstance(message.event, ActivationRequested)
    assert WORDS[LEA].encode() not in record.value
    assert message.event.credential_ref is not None
    hashed = present(office.vault.open(message.event.credential_ref))
    assert hashed.startswith("{ARGON2}$argon2id$v=19$m=8192,t=2,p=1$")
    assert PasswordHasher().verify(hashed.removeprefix("{ARGON2}"), WORDS[LEA])


def test_a_target_that_takes_no_hash_finds_the_password_as_it_was_typed(office: Office) -> None:
    office.apply(enrolled())
    office.vault = Vault(office.database, [new_key()], clock=office.clock, plain_for={"ad": 60.0})
    office.activate(LEA)
    [(record, message)] = office.published()
    assert isinstance(message.event, ActivationRequested)
    ref = message.event.credential_ref or ""
    assert office.vault.open(plain_ref(ref, "ad")) == WORDS[LEA]
    assert WORDS[LEA].encode() not in record.value


def test_the_registry_opens_the_account_with_that_password(office: Office) -> None:
    office.apply(enrolled())
    office.activate(LEA)
    office.deliver()
    account = office.account()
    assert (account.stage, account.lane, account.opened_at) == (Stage.ACTIVE, Lane.PERSONAL, START)
    assert account.credential_ref is not None


def test_everybody_at_once_is_bulk_work(office: Office) -> None:
    office.apply(enrolled())
    office.activate(LEA, lane=Lane.BULK)
    assert [record.topic for record, _ in office.published()] == [ACTIVATIONS + BULK]


def test_the_same_list_again_publishes_nothing(office: Office) -> None:
    office.apply(enrolled())
    office.activate(LEA, PAUL)
    before_the_registry_read_it = office.activate(LEA, PAUL)
    office.deliver()
    after = office.activate(LEA, PAUL)
    assert (before_the_registry_read_it.already, after.already) == (2, 2)
    assert (before_the_registry_read_it.requested, after.requested) == (0, 0)
    assert len(office.published()) == 2


def test_a_number_that_is_not_known_yet_is_published_and_named(office: Office) -> None:
    office.apply(enrolled())
    report = office.activate(LEA, PAUL)
    assert (report.requested, report.not_known_yet) == (2, [PAUL])
    office.deliver()
    office.apply(enrolled(PAUL, birth_name="Durand"))
    assert office.account(PAUL).stage is Stage.ACTIVE


def test_a_student_named_twice_is_activated_once(office: Office) -> None:
    report = office.activate(LEA, PAUL, LEA)
    assert (report.requested, report.repeated) == (2, 1)
    assert len(office.published()) == 2


def test_a_student_without_a_password_is_counted_and_may_get_a_first_one_later(office: Office) -> None:
    office.apply(enrolled())
    assert office.activate(LEA, passwords={}).without_password == 1
    office.deliver()
    assert office.activate(LEA, passwords={}).already == 1
    assert office.activate(LEA).requested == 1
    office.deliver()
    assert office.account().credential_ref is not None
    assert office.activate(LEA, passwords={LEA: "un autre"}).already == 1


@pytest.mark.parametrize("fault", [LogUnavailable, Killed])
@pytest.mark.parametrize("taken", [True, False])
def test_what_the_log_did_not_acknowledge_is_published_again_as_the_same_event(
    office: Office, *, taken: bool, fault: type[BaseException]
) -> None:
    office.apply(enrolled())
    real, office.producer = office.producer, Unsure(office, taken=taken, fault=fault)  # type: ignore[assignment]
    with pytest.raises(fault):
        office.activate(LEA)
    office.producer = real
    assert office.activate(LEA).requested == 1
    assert len({message.id for _, message in office.published()}) == 1
    office.deliver()
    assert office.account().version == 2
    assert office.activate(LEA).already == 1


def test_a_password_that_changed_before_the_acknowledgement_is_sealed_anew(office: Office) -> None:
    office.apply(enrolled())
    real, office.producer = office.producer, Unsure(office, taken=True)  # type: ignore[assignment]
    with pytest.raises(LogUnavailable):
        office.activate(LEA)
    office.producer = real
    office.activate(LEA, passwords={LEA: "tout autre"})
    office.deliver()
    ref = present(office.account().credential_ref)
    hashed = present(office.vault.open(ref))
    assert PasswordHasher().verify(hashed.removeprefix("{ARGON2}"), "tout autre")


def test_a_log_that_was_lost_is_told_again_on_demand(office: Office) -> None:
    office.apply(enrolled())
    office.activate(LEA)
    assert office.activate(LEA, republish=True).requested == 1
    assert len({message.id for _, message in office.published()}) == 1
    office.deliver()
    assert office.activate(LEA, republish=True).already == 1


def test_what_is_no_student_number_is_refused_before_anything_is_published(office: Office) -> None:
    with pytest.raises(StudentListUnusable, match="'Léa Martin' is no student number"):
        office.activate(LEA, "Léa Martin")
    assert office.published() == []
    assert office.activate(LEA).requested == 1


def test_a_dry_run_counts_and_does_nothing(office: Office) -> None:
    office.apply(enrolled())
    report = office.activate(LEA, PAUL, dry_run=True)
    assert (report.requested, report.not_known_yet) == (2, [PAUL])
    assert office.published() == []
    assert office.activate(LEA).requested == 1


def test_a_list_of_many_batches_is_read_as_it_is_needed(office: Office) -> None:
    numbers = [f"22{number:06}" for number in range(2 * STUDENTS_PER_BATCH + 1)]
    seen_when_asked: list[int] = []

    def students() -> Iterator[str]:
        for number in numbers:
            if number == numbers[-1]:
                seen_when_asked.append(len(office.published()))
            yield number

    report = activate(
        students(),
        {},
        lane=Lane.BULK,
        known=office.people,
        database=office.database,
        vault=office.vault,
        producer=office.producer,
        clock=lambda: START,
        hashing=CHEAP,
    )
    assert report.requested == len(numbers)
    assert seen_when_asked == [2 * STUDENTS_PER_BATCH]
    assert [record.key for record, _ in office.published()] == numbers


def test_the_default_costs_are_the_recommended_ones() -> None:
    assert (HashingSettings().memory_kib, PASSES, LANES) == (19_456, 2, 1)
