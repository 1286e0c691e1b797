"""The canary's reset: as before the activation, again and again; and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from consumers.propagation import rows, times
from consumers.propagation.handler import Propagation
from consumers.propagation.settings import PropagationSettings
from consumers.registry.ledger import ledger
from consumers.registry.lifecycle import closings
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.webhooks.handler import Webhooks
from consumers.webhooks.rows import webhook_events
from pipeline.outbox import outbox
from schemas.account import Account, Lane, Stage
from schemas.catalogue import ACCOUNTS, OUTCOMES, PROPAGATION
from schemas.envelope import Message, event_id
from schemas.events import AccountChanged, CanaryReset, Cause, TargetProvisioned
from sesame.testing.servers.registry_kit import LEA, START, RegistryHarness, activation, enrolled

NUMBER = "sesame-canary"
RESET = CanaryReset(student_number=NUMBER)


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    desk = RegistryHarness(store_url, rules=LifecycleSettings(erase=True), services=("mailbox", "moodle"))
    with closing(desk.database):
        yield desk


def go(desk: RegistryHarness) -> Account:
    """Enrol and activate it once more, with a new password."""
    desk.clock.now += 300.0
    desk.apply(enrolled(NUMBER, int(desk.clock()), birth_name="Sésame", given_name="Canari"))
    desk.apply(activation(NUMBER, credential_ref=desk.seal("hash", NUMBER)))
    return desk.account(NUMBER)


def test_it_is_as_before_its_activation_and_can_be_activated_again(desk: RegistryHarness) -> None:
    first = go(desk)
    assert (first.stage, bool(first.cohorts), first.credential_ref is None) == (Stage.ACTIVE, True, False)
    desk.clock.now += 60.0
    desk.apply(RESET)
    shut = desk.account(NUMBER)
    assert (shut.stage, shut.access_open) == (Stage.EXPIRED, False)
    assert (shut.cohorts, shut.groups, shut.enrolments, shut.affiliations) == ((), (), (), ())
    assert (shut.credential_ref, shut.activated_at, shut.opened_at, shut.stages) == (None, None, None, {})
    assert (shut.login, shut.mail, shut.principal) == (first.login, first.mail, first.principal)

    second = go(desk)
    assert (second.stage, second.cohorts, second.login) == (Stage.ACTIVE, first.cohorts, first.login)
    assert second.opened_at is not None
    assert second.opened_at.timestamp() == desk.clock(), "its window opens with this activation"
    assert second.credential_ref not in (None, first.credential_ref)
    with desk.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(ledger)) == 3  # login, mail, principal name
        assert closings.held(connection) == []
        assert connection.scalar(select(func.count()).select_from(closings.closings)) == 0


def test_neither_its_enrolment_nor_time_opens_what_a_reset_has_shut(desk: RegistryHarness) -> None:
    go(desk)
    desk.apply(RESET)
    shut = desk.account(NUMBER)
    desk.clock.now += 300.0
    desk.apply(enrolled(NUMBER, int(desk.clock()), birth_name="Sésame", given_name="Canari"))
    desk.apply(RESET)
    desk.pass_time((START + timedelta(days=900)).date())
    assert desk.account(NUMBER) == shut, "no version, no erasure: nothing waits for it"


def test_a_reset_leaves_others_alone_and_nobody_else_has_one(desk: RegistryHarness) -> None:
    desk.apply(enrolled(LEA))
    desk.apply(activation(LEA, credential_ref=desk.seal("hash", LEA)))
    before = desk.account(LEA)
    go(desk)
    desk.apply(RESET)
    assert desk.account(LEA) == before
    assert desk.person(LEA).activated_at is not None
    for number in (LEA, "SESAME-CANARY"):
        with pytest.raises(ValidationError):
            CanaryReset.model_validate({"student_number": number})


def test_nothing_of_it_is_followed_nor_sent_to_receivers(desk: RegistryHarness) -> None:
    receiver = Webhooks(desk.database, {"portal": {AccountChanged.type}}, clock=desk.clock)
    propagation = Propagation(
        desk.database, targets=("moodle",), follows={}, objectives=PropagationSettings()
    )
    go(desk)
    desk.apply(enrolled(LEA))
    desk.apply(activation(LEA))
    for number in (NUMBER, LEA):
        account = desk.account(number)
        bell = AccountChanged(
            student_number=number,
            version=account.version,
            stage=account.stage,
            lane=account.lane,
            cause=Cause.ACTIVATION,
        )
        done = outcome("moodle", account.version, number)
        messages = [
            Message(event_id(event.type, "test", number), "/sesame/test", START, event)
            for event in (bell, done)
        ]
        facts = [desk.fact(each, topic) for each, topic in zip(messages, (ACCOUNTS, OUTCOMES), strict=True)]
        with desk.transaction() as connection:
            propagation.handle(connection, facts)
            receiver.handle(connection, facts[:1])
    with desk.database.read() as connection:
        for table in (rows.propagation, rows.propagation_targets, webhook_events):
            assert list(connection.scalars(select(table.c.student_number))) == [LEA], table.name
        said = list(connection.scalars(select(outbox.c.key).where(outbox.c.topic == PROPAGATION)))
        counted = connection.scalar(
            select(func.sum(times.propagation_times.c.students)).where(
                times.propagation_times.c.kind == times.ALL
            )
        )
    assert (said, counted) == ([LEA], 1)


def outcome(target: str, version: int, number: str) -> TargetProvisioned:
    return TargetProvisioned(
        student_number=number,
        version=version,
        target=target,
        lane=Lane.PERSONAL,
        lease_epoch=1,
        sequence=1,
        attempt=1,
        started_at=START,
        finished_at=START,
        digest="sha256:" + "0" * 64,
        changed=True,
    )


def test_a_reset_before_the_first_enrolment_waits_for_it_and_shuts_nothing(desk: RegistryHarness) -> None:
    desk.apply(RESET)
    assert desk.maybe_account(NUMBER) is None
    account = go(desk)
    assert account.stage is Stage.ACTIVE
