"""A lost store is made again: what the log and the directory say, in which order, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from consumers.directory.objects import EntryObject, shown
from consumers.registry.ledger import ledger
from pipeline.eventlog.port import NewRecord
from pipeline.eventlog.sqlite import SqliteEventLog
from producers.registrar.feed import SEQUENCES_PER_IMPORT
from producers.registrar.import_runs import SqlImports
from schemas import catalogue
from schemas.account import Hold, Stage
from schemas.envelope import Message, event_id, to_record
from schemas.events import ActivationRequested, CredentialChanged, Event, HoldLifted, HoldPlaced
from sesame.acts import life
from sesame.acts.acts import Actor, Role
from sesame.operations.keeping import rebuild
from sesame.operations.keeping.backup.acts import person_keys
from sesame.operations.keeping.rebuild import RebuildRequest, Rebuilt
from sesame.operations.questions.adoption import acts as adoption
from sesame.operations.questions.restored import inspection
from sesame.testing.servers.registry_kit import LEA, PAUL, RegistryHarness, enrolled

NINA = "22009999"
CAMILLE = Actor("camille", frozenset({Role.ADMINISTRATOR}))
BULK = catalogue.ACTIVATIONS + ".bulk"


class World:
    """A log of facts, entries of a directory, and an empty store."""

    def __init__(self, desk: RegistryHarness, folder: Path) -> None:
        self.desk = desk
        self.now = 1_790_000_000.0
        self.folder = folder
        self.log = SqliteEventLog(folder / "events.db", clock=self._tick)
        self.log.ensure_topics(dict.fromkeys(catalogue.TOPICS, 2))
        self.entries: list[EntryObject] = []

    def _tick(self) -> float:
        self.now += 1.0
        return self.now

    def say(self, event: Event, topic: str) -> None:
        identity = event_id(event.type, "test", event.student_number, int(self.now))
        message = Message(identity, "/sesame/test", datetime.fromtimestamp(self.now, UTC), event)
        headers, value = to_record(message)
        self.log.producer().append([NewRecord(topic, event.student_number, value, headers)])

    def show(self, number: str, login: str, version: int) -> None:
        values = {
            "uid": login,
            "supannEtuId": number,
            "sesameVersion": str(version),
            "mail": f"{login}@etu.univ-exemple.fr",
            "eduPersonPrincipalName": f"{login}@univ-exemple.fr",
        }
        raw = {name: [value.encode()] for name, value in values.items()}
        self.entries.append(shown(f"uid={login},ou=people", raw))

    def rebuild(self, *, write: bool = True) -> Rebuilt:
        return rebuild.rebuild(self.site(), CAMILLE, RebuildRequest(write=write), progress=lambda _: None)

    def site(self) -> Any:
        directory = SimpleNamespace(objects=lambda: iter(self.entries))
        return SimpleNamespace(
            database=self.desk.database,
            registry=self.desk.registry,
            log=self.log,
            directory=lambda **_how: nullcontext(directory),
            settings=SimpleNamespace(data_dir=self.folder, key_copies=self.folder / "copies"),
        )

    def shut_why(self) -> str:
        with self.desk.database.read() as connection:
            found = life.look(connection)
        return "" if found is None else found.shut_why


@pytest.fixture
def world(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Adoption and the check are told apart: each has tests of its own, and real servers have all of it."""
    desk = RegistryHarness(store_url)
    made = World(desk, tmp_path)

    def check(site: Any, *_more: Any) -> Any:
        with site.database.write() as connection:
            life.of(connection, site.database)
            life.reopen(connection, 1.0, above=0)
        return SimpleNamespace(asked=(NINA,))

    monkeypatch.setattr(adoption, "adopt", lambda *_a, **_k: SimpleNamespace(questions={}))
    monkeypatch.setattr(inspection, "check", check)
    yield made
    made.log.close()
    desk.database.close()


def test_a_name_that_an_entry_has_stays_its_students_whoever_is_first_in_the_log(world: World) -> None:
    """Paul is a homonym of Léa, enrolled before her; her entry has the login that he would be given."""
    world.say(enrolled(PAUL, birth_date="1999-01-02"), catalogue.ENROLMENTS)
    world.say(enrolled(LEA), catalogue.ENROLMENTS)
    world.show(LEA, "lea.martin", 7)
    found = world.rebuild()
    assert (found.entries, found.activated, found.unknown) == (1, 1, 0)
    lea, paul = world.desk.account(LEA), world.desk.account(PAUL)
    assert (lea.login, lea.version, lea.stage) == ("lea.martin", 7, Stage.ACTIVE)
    assert paul.login != "lea.martin"
    assert paul.stage is Stage.PRECREATED


def test_a_hold_that_was_lifted_in_the_other_lane_is_lifted(world: World) -> None:
    world.say(enrolled(LEA), catalogue.ENROLMENTS)
    world.say(ActivationRequested(student_number=LEA), catalogue.ACTIVATIONS)
    world.say(HoldPlaced(student_number=LEA, hold=Hold.ADMINISTRATIVE), BULK)
    world.say(HoldLifted(student_number=LEA, hold=Hold.ADMINISTRATIVE), catalogue.ACTIVATIONS)
    world.say(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED), catalogue.ACTIVATIONS)
    world.say(HoldLifted(student_number=LEA, hold=Hold.SUSPENDED), BULK)
    world.say(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED), BULK)
    world.rebuild()
    assert world.desk.account(LEA).holds == {Hold.SUSPENDED}


def test_who_activated_is_active_again_without_the_password_that_is_lost(world: World) -> None:
    world.say(enrolled(LEA), catalogue.ENROLMENTS)
    world.say(ActivationRequested(student_number=LEA, credential_ref="lost-for-good"), catalogue.ACTIVATIONS)
    world.say(CredentialChanged(student_number=LEA, credential_ref="lost-as-well"), catalogue.ACTIVATIONS)
    found = world.rebuild()
    assert found.refused == {"vault": 1}
    account = world.desk.account(LEA)
    assert account.stage is Stage.ACTIVE
    assert account.credential_ref is None
    assert {topic for topic, _ in world.desk.announced(LEA)} == {catalogue.ACCOUNTS + ".bulk"}, "nobody waits"
    assert world.desk.letters(LEA) == []


def test_the_next_file_is_newer_than_what_the_log_has(world: World) -> None:
    sequence = 41 * SEQUENCES_PER_IMPORT + 7
    world.say(enrolled(LEA, sequence=sequence), catalogue.ENROLMENTS)
    world.rebuild()
    started = SqlImports(world.desk.database).begin("apogee", file_name="x.csv", started_at=1.0)
    assert started * SEQUENCES_PER_IMPORT > sequence


def test_whom_the_log_does_not_name_is_counted_and_comes_with_the_file(world: World) -> None:
    world.show(LEA, "lea.martin", 7)
    assert world.rebuild().unknown == 1
    world.desk.apply(enrolled(LEA))
    assert world.desk.account(LEA).login == "lea.martin"
    again = world.rebuild()
    assert (again.activated, again.accounts, again.unknown, again.facts) == (1, 1, 0, None)
    assert world.desk.account(LEA).version == 7
    assert world.rebuild().activated == 0


def test_an_entry_that_sesame_did_not_write_activates_nobody(world: World) -> None:
    world.say(enrolled(LEA), catalogue.ENROLMENTS)
    world.show(LEA, "l.martin", 0)
    found = world.rebuild()
    assert (found.entries, found.activated) == (0, 0)
    account = world.desk.account(LEA)
    assert (account.login, account.stage) == ("l.martin", Stage.PRECREATED)


def test_a_store_that_works_is_not_told_old_facts_again(world: World) -> None:
    world.say(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED), catalogue.ACTIVATIONS)
    world.desk.apply(enrolled(LEA))
    assert world.rebuild().facts is None
    assert world.desk.account(LEA).holds == frozenset()


def test_one_that_was_cut_off_stays_shut_and_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.say(enrolled(LEA), catalogue.ENROLMENTS)
    world.say(ActivationRequested(student_number=LEA), catalogue.ACTIVATIONS)

    def killed(*_more: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rebuild, "_activate", killed)
        with pytest.raises(KeyboardInterrupt):
            world.rebuild()
    assert "made again" in world.shut_why()
    version = world.desk.account(LEA).version
    assert world.rebuild().facts == {
        "fr.sesame.enrolment.recorded.v1": 1,
        "fr.sesame.activation.requested.v1": 1,
    }
    assert world.desk.account(LEA).version == version
    assert world.shut_why() == ""


def test_names_of_the_erased_are_taken_still(world: World) -> None:
    pseudonym = "erased-abcdefghijklmnopqrstuvwx"
    row = {"kind": "login", "value": "0123abcd", "student_number": pseudonym, "origin": "minted"}
    kept = {"ledger": [row | {"recorded_at": 1.5, "of_a_later_version": 1}]}
    person_keys(world.site()).destroy(NINA, pseudonym=pseudonym, kept=kept)
    for _ in range(2):
        world.rebuild()
    with world.desk.database.read() as connection:
        found = connection.execute(select(ledger)).mappings().all()
    assert [dict(each) for each in found] == [row | {"recorded_at": 1.5}]


def test_a_dry_run_writes_nothing(world: World) -> None:
    world.say(enrolled(LEA), catalogue.ENROLMENTS)
    world.show(LEA, "lea.martin", 7)
    found = world.rebuild(write=False)
    assert (found.written, found.entries, found.facts) == (False, 1, {"fr.sesame.enrolment.recorded.v1": 1})
    assert world.desk.maybe_account(LEA) is None
    assert world.shut_why() == ""
