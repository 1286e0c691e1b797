"""Where the site says so, an entry that a hand deleted is made again with its password; nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from pipeline.db import persons
from pipeline.db.metadata import metadata
from pipeline.db.persons import Forgetting
from pipeline.target import Done, Waiting
from pipeline.vault import kept_hashes, new_key
from sandbox.slapd import Slapd
from schemas.account import Hold
from schemas.events import CredentialChanged, HoldPlaced, IdentityDecided, IdentityDecision
from sesame.acts.acts import Actor, Role
from sesame.app.housekeeping import Housekeeping
from sesame.app.wiring import Application, utc_now
from sesame.operations.keeping.backup import copies
from sesame.operations.keeping.backup.acts import BackupRequest, RestoreRequest, back_up, person_keys, verify
from sesame.settings import Settings, SettingsError
from sesame.testing.servers.registry_kit import LEA, PAUL
from tests.integration.targets.test_replaced_passwords import PASSWORDS, STOLEN, DirectoryPlace

ADA = Actor("ada", frozenset({Role.ADMINISTRATOR}))
NO_SUCH_OBJECT = 32


class Keeping(DirectoryPlace):
    """A site that keeps the last hash of each student."""

    more = "[vault]\nkeep_last_hash = true\n"

    def kept(self) -> set[str]:
        with self.site.database.read() as connection:
            return set(connection.scalars(select(kept_hashes.c.student_number)))

    def delete(self, number: str) -> None:
        self.by_hand("ldapdelete", self.dn(number))


@pytest.fixture
def place(counted_slapd: Slapd, tmp_path: Path) -> Iterator[Keeping]:
    place = Keeping(tmp_path / "site", counted_slapd)
    entries = [place.dn(number) for number in PASSWORDS]
    yield place
    for dn in entries:
        place.by_hand("ldapdelete", dn, allowed=NO_SUCH_OBJECT)
    place.close()


def test_an_entry_that_a_hand_deleted_is_made_again_with_its_password(place: Keeping) -> None:
    assert place.kept() == PASSWORDS.keys()
    place.delete(LEA)
    found = place.compared()
    assert (found.missing, found.evidence[LEA]) == ([LEA], ())
    for _ in range(2):
        assert isinstance(place.turn(LEA), Done)
        assert place.lets_in(LEA, PASSWORDS[LEA])
        assert place.compared().differs is False
    assert place.kept() == PASSWORDS.keys(), "it may be deleted again"


def test_elsewhere_the_student_chooses_another(counted_slapd: Slapd, tmp_path: Path) -> None:
    with closing(DirectoryPlace(tmp_path / "site", counted_slapd)) as place:
        for number in PASSWORDS:
            place.by_hand("ldapdelete", place.dn(number))
        assert place.compared().evidence[LEA] == ("credential_needed",)
        assert place.turn(LEA) == Waiting("credential_needed")
        place.by_hand("ldapdelete", place.dn(LEA))


def test_a_password_that_differs_is_never_written_over_and_what_was_kept_of_it_goes(place: Keeping) -> None:
    place.replace(PAUL, STOLEN)
    assert place.turn(PAUL) == Waiting("password_replaced")
    assert place.lets_in(PAUL, STOLEN)
    assert place.kept() == {LEA}
    place.delete(PAUL)
    assert place.turn(PAUL) == Waiting("credential_needed")
    assert not place.lets_in(PAUL, PASSWORDS[PAUL])
    place.modify(LEA, "replace: sesameCredentialRef\nsesameCredentialRef: another")
    assert place.turn(LEA) == Waiting("credential_needed"), "the entry is there: nothing kept is written"


def test_stolen_passwords_of_either_number_destroy_it(place: Keeping) -> None:
    """Léa is Paul too: she has two numbers, and a password under each."""
    place.desk.apply(HoldPlaced(student_number=LEA, hold=Hold.SUSPENDED))
    assert place.kept() == PASSWORDS.keys(), "a hold of another kind tells of no theft"
    place.desk.apply(IdentityDecided(student_number=PAUL, other=LEA, decision=IdentityDecision.MERGE))
    place.desk.apply(HoldPlaced(student_number=PAUL, hold=Hold.STOLEN_PASSWORDS))
    assert place.kept() == set()


def test_a_new_password_destroys_it_at_once(place: Keeping) -> None:
    chosen = place.sealed(LEA, "Un autre, à 5 mots.")
    assert place.kept() == {PAUL}
    place.desk.apply(CredentialChanged(student_number=LEA, credential_ref=chosen))
    assert isinstance(place.turn(LEA), Done)
    assert place.kept() == PASSWORDS.keys()
    place.delete(LEA)
    assert isinstance(place.turn(LEA), Done)
    assert place.lets_in(LEA, "Un autre, à 5 mots.")
    assert not place.lets_in(LEA, PASSWORDS[LEA])


def test_it_outlives_the_key_that_sealed_it_and_goes_with_the_setting(place: Keeping) -> None:
    settings = place.site.settings
    key_file = settings.vault_key_file
    former, turned = key_file.read_text(encoding="ascii"), new_key()

    def keep_house(settings: Settings) -> None:
        with closing(Application(settings)) as restarted:
            house = Housekeeping(restarted, ["registry"], on_trouble=lambda *told: pytest.fail(str(told)))
            (chore,) = [each for each in house.chores if each.name == "vault"]
            chore.do()

    key_file.write_text(f"{turned}\n{former}", encoding="ascii")
    keep_house(settings)
    key_file.write_text(turned, encoding="ascii")
    place.delete(LEA)
    place.site.__dict__.pop("vault")
    assert isinstance(place.turn(LEA), Done)
    assert place.lets_in(LEA, PASSWORDS[LEA])
    vault = settings.vault.model_copy(update={"keep_last_hash": False})
    keep_house(settings.model_copy(update={"vault": vault}))
    assert place.kept() == set()


def test_who_is_erased_leaves_none(place: Keeping) -> None:
    database = place.site.database
    with database.write() as connection:
        lea = Forgetting(LEA, "erased-x", (LEA,), lambda value: value)
        persons.forget(connection, database, metadata, lea)
    assert place.kept() == {PAUL}


def test_no_backup_has_it(place: Keeping) -> None:
    assert place.replayed() == [], "and so there is a log"
    request = BackupRequest(folder=place.site.settings.data_dir / "backups")
    made = back_up(place.site, ADA, request, metadata=metadata, clock=utc_now, version="of a test")
    assert place.kept() == PASSWORDS.keys()
    keys = person_keys(place.site)
    assert verify(place.site, ADA, RestoreRequest(folder=made.folder)).accounts == 2
    with (
        copies.opened(made.folder, keys=keys, scratch=place.site.settings.data_dir) as found,
        closing(sqlite3.connect(found.folder / "sesame.db")) as store,
    ):
        assert store.execute("SELECT count(*) FROM vault").fetchone() == (2,)
        assert store.execute("SELECT count(*) FROM kept_hashes").fetchone() == (0,)


def test_a_site_whose_dumps_are_not_ours_cannot_keep_it(place: Keeping) -> None:
    settings = place.site.settings
    assert settings.keeps_last_hash
    elsewhere = settings.store.model_copy(update={"url": SecretStr("postgresql://sesame@db.example/sesame")})
    with pytest.raises(SettingsError, match="keep_last_hash"):
        _ = settings.model_copy(update={"store": elsewhere}).keeps_last_hash
