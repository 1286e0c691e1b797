"""Who is asked about after a restore: whoever a target shows shut and the store would open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert

from consumers.directory.objects import LOCKED_FOR_GOOD, EntryObject, shown
from consumers.kit.connector import TargetObject
from consumers.registry.lifecycle.settings import LifecycleSettings
from pipeline.errors import TargetDown
from pipeline.target import Task
from pipeline.target_states import target_states
from schemas.account import Hold, Stage
from schemas.events import HoldPlaced, IdentityDecided, IdentityDecision
from sesame.acts import life
from sesame.acts.acts import Actor, Role
from sesame.acts.admission import StoreRestored, admit
from sesame.operations.questions.restored.inspection import check
from sesame.operations.questions.restored.questions import (
    NotAsked,
    RestoreAnswer,
    RestoredAnswerRequest,
    RestoredRequest,
    answer,
    listed,
)
from sesame.testing.connector.bench import shut
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, activation, cancelled, enrolled
from tests.connectors.sample import sample

LEA_TOO = "22001299"
"""Léa's other number: it has no account, and her entry shows both."""
NINA = "22009999"
OPEN = "22008888"
NO_ENTRY: Mapping[str, int] = {}
CAMILLE = Actor("camille", frozenset({Role.OPERATOR}))


class Log:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def append(self, records: list[Any]) -> list[Any]:
        self.keys += [record.key for record in records]
        return []


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    """Léa, who has two numbers, and Paul are enrolled and active; Nina is nobody yet."""
    desk = RegistryHarness(store_url, rules=LifecycleSettings(guard_share=1.0))
    for number in (LEA, PAUL):
        desk.apply(enrolled(student_number=number, **_other(number)))
        desk.apply(activation(number))
    desk.apply(enrolled(LEA_TOO, 2))
    desk.apply(IdentityDecided(student_number=LEA_TOO, other=LEA, decision=IdentityDecision.MERGE))
    desk.apply(cancelled(LEA_TOO, 3))
    assert desk.maybe_account(LEA_TOO) is None
    yield desk
    desk.database.close()


def _other(number: str) -> dict[str, Any]:
    return {} if number == LEA else {"birth_name": "Durand", "given_name": "Paul", "ine": None}


@pytest.fixture
def site(desk: RegistryHarness, tmp_path: Path) -> Any:
    return SimpleNamespace(
        settings=SimpleNamespace(targets=("directory", "moodle"), data_dir=tmp_path),
        privacy_if_any=None,
        database=desk.database,
        notes_file=tmp_path / "store.life",
        store_file=None,
        registry=desk.registry,
        producer=Log(),
    )


@pytest.fixture
def show(site: Any) -> Any:
    """Let the targets show these students shut, and one each who is open."""

    def shows(
        directory: Mapping[str, int] = NO_ENTRY, moodle: Sequence[str] = (), *, by: str = "lock"
    ) -> None:
        locked = {number: entry(number, version, by) for number, version in directory.items()}
        entries = [*locked.values(), entry(OPEN, 1, "")]
        users = [TargetObject(number, number, open=False) for number in moodle]
        users.append(TargetObject("open", OPEN, open=True))
        users.append(TargetObject("stranger", "", open=False))
        listing = SimpleNamespace(known_by="number", verbs=lambda: ("objects",), objects=lambda: iter(users))
        directory_shown = SimpleNamespace(objects=lambda: iter(entries))
        site.directory = lambda **_read_only: nullcontext(directory_shown)
        site.connector = lambda _target: nullcontext(listing)

    return shows


def entry(number: str, version: int, shut_by: str) -> EntryObject:
    """A student's, as a directory shows it: locked, without mail, or open."""
    numbers = (number, LEA_TOO) if number == LEA else (number,)
    raw = {
        "sesameMailEnabled": [b"FALSE" if shut_by == "mail" else b"TRUE"],
        "supannEtuId": [each.encode() for each in numbers],
        "sesameVersion": [str(version).encode()],
        "pwdAccountLockedTime": [LOCKED_FOR_GOOD.encode()] if shut_by == "lock" else [],
    }
    return shown(f"uid={number}", raw)


def checked(site: Any) -> tuple[str, ...]:
    return check(site, CAMILLE, say=lambda _what: None).asked


def test_one_whom_a_target_shows_shut_is_held_and_asked_about_and_the_others_are_not_touched(
    site: Any, desk: RegistryHarness, show: Any
) -> None:
    before = desk.account(PAUL)
    show(moodle=[LEA])
    assert checked(site) == (LEA,)
    assert desk.account(LEA).holds == {Hold.ADMINISTRATIVE}
    assert not desk.account(LEA).access_open
    assert desk.announced(LEA)[-1][1].holds == (Hold.ADMINISTRATIVE,)
    assert desk.account(PAUL) == before
    [question] = listed(site, CAMILLE, RestoredRequest())
    assert (question.student_number, question.shown_shut_by) == (LEA, ("moodle",))
    assert checked(site) == ()  # once
    assert len(listed(site, CAMILLE, RestoredRequest())) == 1


def test_one_whom_a_connector_of_another_package_shows_shut_is_asked_about(
    site: Any, desk: RegistryHarness, show: Any, tmp_path: Path
) -> None:
    show()
    site.settings.targets = ("directory", "library")
    with sample(tmp_path) as bench, bench.handler() as (_, handler):
        for number, open_ in ((LEA, False), (PAUL, True)):
            account = desk.account(number)
            handler.handle([Task(account)])
            if not open_:
                handler.handle([Task(shut(account))])
        site.connector = lambda _target: bench.connected(read_only=True)
        found = check(site, CAMILLE, say=lambda _what: None)
    assert found.asked == (LEA,)
    assert found.read == {"directory": 1, "library": 2}
    assert listed(site, CAMILLE, RestoredRequest())[0].shown_shut_by == ("library",)


def test_one_whom_a_mail_server_had_and_finds_no_more_is_asked_about(
    site: Any, desk: RegistryHarness, show: Any
) -> None:
    show()
    site.settings.targets = ("directory", "mail")
    with desk.database.write() as connection:
        connection.execute(
            insert(target_states),
            [
                {"target": "mail", "student_number": number, "applied_version": 1, "state_version": 1}
                for number in (LEA, PAUL)
            ],
        )
    left = TargetObject("x", names=(("mail", desk.account(PAUL).mail.upper()),))
    server = SimpleNamespace(known_by="mail", verbs=lambda: ("objects",), objects=lambda: iter([left]))
    site.connector = lambda _target: nullcontext(server)
    found = check(site, CAMILLE, say=lambda _what: None)
    assert (found.asked, found.read) == ((LEA,), {"directory": 1, "mail": 1})


@pytest.mark.parametrize("under", [LEA, LEA_TOO])
def test_one_with_a_hold_under_either_number_is_no_question(
    site: Any, desk: RegistryHarness, show: Any, under: str
) -> None:
    desk.apply(HoldPlaced(student_number=under, hold=Hold.SUSPENDED, reason_ref="reference-1"))
    before = desk.account(LEA)
    show(directory={LEA: 9}, moodle=[LEA])
    assert checked(site) == ()
    assert desk.account(LEA) == before


@pytest.mark.parametrize("answered", [LEA, LEA_TOO])
def test_a_person_of_two_numbers_is_asked_about_once_and_answered_by_either(
    site: Any, desk: RegistryHarness, show: Any, answered: str
) -> None:
    show(directory={LEA: 40})
    assert checked(site) == (LEA,)
    assert desk.account(LEA).version == 41
    assert desk.account(LEA).holds == {Hold.ADMINISTRATIVE}
    opened = RestoredAnswerRequest(student_number=answered, answer=RestoreAnswer.OPENED, reason="by mistake")
    answer(site, CAMILLE, opened)
    assert site.producer.keys == [LEA]
    assert listed(site, CAMILLE, RestoredRequest()) == []
    with pytest.raises(NotAsked):
        answer(site, CAMILLE, opened)


@pytest.mark.parametrize("by", ["lock", "mail"])
def test_an_entry_is_shut_by_its_lock_or_by_its_mail(site: Any, show: Any, by: str) -> None:
    show(directory={LEA: 0}, by=by)
    assert checked(site) == (LEA,)


def test_one_whose_account_has_expired_is_no_question_unless_the_directory_knows_more(
    site: Any, desk: RegistryHarness, show: Any
) -> None:
    for number in (LEA, PAUL):
        desk.apply(cancelled(number))
    desk.pass_time(date(2027, 1, 1))
    assert {desk.account(number).stage for number in (LEA, PAUL)} == {Stage.EXPIRED}
    version = desk.account(PAUL).version
    show(directory={LEA: desk.account(LEA).version, PAUL: version + 1}, moodle=[LEA, PAUL])
    assert checked(site) == (PAUL,)  # written after the backup: why it was shut is not known here
    assert desk.account(PAUL).version > version + 1


def test_the_next_version_is_above_what_the_directory_shows(
    site: Any, desk: RegistryHarness, show: Any
) -> None:
    """Else the directory would refuse it as an older one, and nobody could open it again."""
    show(directory={LEA: 40})
    assert checked(site) == (LEA,)
    assert desk.account(LEA).version == 41


def test_one_who_was_made_after_the_backup_is_held_as_soon_as_the_number_is_known(
    site: Any, desk: RegistryHarness, show: Any
) -> None:
    show(directory={NINA: 3}, moodle=[NINA, "22000000"])  # the last one: a stranger, who was never ours
    assert checked(site) == (NINA,)
    desk.apply(enrolled(student_number=NINA, birth_name="Petit", given_name="Nina", ine=None))
    desk.apply(activation(NINA))
    assert not desk.account(NINA).access_open


def test_until_every_target_was_read_nobody_may_write(site: Any, show: Any) -> None:
    def away(_target: str) -> Any:
        raise TargetDown("away")

    show(directory={LEA: 1})
    site.connector = away
    with pytest.raises(TargetDown):
        checked(site)
    with pytest.raises(StoreRestored, match="being checked"):
        admit(site, works=True)
    show(directory={LEA: 1})
    checked(site)
    admit(site, works=True)
    with site.database.read() as connection:
        found = life.look(connection)
    assert found is not None
    assert found.checked_at is not None


def test_an_answer_opens_or_keeps_and_is_given_once(site: Any, desk: RegistryHarness, show: Any) -> None:
    show(moodle=[LEA, PAUL])
    checked(site)
    answer(
        site,
        CAMILLE,
        RestoredAnswerRequest(student_number=LEA, answer=RestoreAnswer.OPENED, reason="by mistake"),
    )
    answer(
        site, CAMILLE, RestoredAnswerRequest(student_number=PAUL, answer=RestoreAnswer.KEPT, reason="stolen")
    )
    assert site.producer.keys == [LEA]
    assert listed(site, CAMILLE, RestoredRequest()) == []
    assert [each.state for each in listed(site, CAMILLE, RestoredRequest(everything=True))] == [
        RestoreAnswer.OPENED,
        RestoreAnswer.KEPT,
    ]
    for number in (LEA, NINA):
        with pytest.raises(NotAsked):
            answer(
                site,
                CAMILLE,
                RestoredAnswerRequest(student_number=number, answer=RestoreAnswer.OPENED, reason="again"),
            )
    assert not desk.account(PAUL).access_open
