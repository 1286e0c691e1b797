"""The ledger in the database: names are for ever one person's, whoever mints at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import date

import pytest
from sqlalchemy.exc import IntegrityError

from consumers.registry import identity
from consumers.registry.identity import NamesExhausted, mint
from consumers.registry.ledger import DIRECTORY, SqlLedger, ledger
from consumers.registry.people import Identity, KnownPerson, Names, People
from consumers.registry.settings import RegistrySettings
from pipeline.db.database import Database
from sandbox.process import PATIENCE_S
from schemas.account import Person

SETTINGS = RegistrySettings(mail_domain="etu.univ-exemple.fr")
JEAN = Person(given_name="Jean", birth_name="Dupont")


def minted(database: Database, student_number: str, settings: RegistrySettings = SETTINGS) -> Names:
    with database.write() as connection:
        return mint(JEAN, student_number, settings, SqlLedger(connection, database, database.now(connection)))


def test_threads_that_mint_homonyms_at_once_never_mint_one_name_twice(database: Database) -> None:
    numbers = [f"2200{number:04}" for number in range(16)]
    start = threading.Barrier(4)
    names: dict[str, Names] = {}
    failures: list[BaseException] = []

    def work(mine: list[str]) -> None:
        try:
            start.wait(PATIENCE_S)
            for number in mine:
                names[number] = minted(database, number)
        except BaseException as error:  # noqa: BLE001  # told by the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(numbers[lane::4],)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert failures == []
    expected = {"jean.dupont", *(f"jean.dupont{counter}" for counter in range(2, 17))}
    assert {name.login for name in names.values()} == expected
    assert {name.mail.partition("@")[0] for name in names.values()} == expected


def test_minting_again_gives_the_same_names(database: Database) -> None:
    assert minted(database, "22001234") == minted(database, "22001234")


def test_names_keep_their_order_when_the_clock_is_set_back_between_them(database: Database) -> None:
    for now, login in ((1_000.0, "jean.dupont"), (400.0, "jean.durand"), (500.0, "jean.dubois")):
        with database.write() as connection:
            assert SqlLedger(connection, database, now).claim({"login": login}, "22001234")
    with database.read() as connection:
        book = SqlLedger(connection, database, 0.0)
        assert book.all_of("22001234", "login") == ["jean.dupont", "jean.durand", "jean.dubois"]
        assert book.held_by("22001234") == {"login": "jean.dupont"}


def test_a_transaction_that_fails_gives_its_names_back(database: Database) -> None:
    def fails_after_minting() -> None:
        with database.write() as connection:
            mint(JEAN, "22001234", SETTINGS, SqlLedger(connection, database, 0.0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_after_minting()
    assert minted(database, "22005678").login == "jean.dupont"


def test_names_of_staff_are_nobody_s_to_mint(database: Database) -> None:
    with database.write() as connection:
        book = SqlLedger(connection, database, 0.0)
        assert book.reserve("login", "Jean.Dupont", holder=None, origin="directory")
        assert book.reserve("mail", "jean.dupont2@etu.univ-exemple.fr", holder=None, origin="directory")
    assert minted(database, "22001234").login == "jean.dupont3"


def test_a_name_that_somebody_holds_cannot_be_reserved_for_another(database: Database) -> None:
    minted(database, "22001234")
    with database.write() as connection:
        book = SqlLedger(connection, database, 0.0)
        assert not book.reserve("login", "jean.dupont", holder=None, origin="directory")
        assert not book.reserve("login", "JEAN.DUPONT", holder="22005678", origin="directory")
        assert book.reserve("login", "jean.dupont", holder="22001234", origin="directory")


def test_a_login_that_is_lost_between_look_and_claim_leaves_nothing_behind(database: Database) -> None:
    class Late(SqlLedger):
        """Looks before somebody else's claim is visible, as two transactions of PostgreSQL may."""

        looked = 0

        def _holders(self, names: Mapping[str, str]) -> dict[str, set[str]]:
            self.looked += 1
            return {kind: set() for kind in names} if self.looked == 1 else super()._holders(names)

    with database.write() as connection:
        SqlLedger(connection, database, 0.0).reserve(
            "mail", "jean.dupont@etu.univ-exemple.fr", holder=None, origin="directory"
        )
        late = Late(connection, database, 0.0)
        taken = {"login": "jean.dupont", "mail": "jean.dupont@etu.univ-exemple.fr"}
        assert not late.claim(taken, "22001234")
        assert late.held_by("22001234") == {}


def test_a_retired_name_is_made_again_for_its_holder_alone(database: Database) -> None:
    first = minted(database, "22001234")
    with database.write() as connection:
        book = SqlLedger(connection, database, 0.0)
        book.retire("22001234")
        assert book.held_by("22001234") == {}
    other = minted(database, "22005678")
    assert other.login != first.login
    assert minted(database, "22001234") == first
    with database.write() as connection:
        book = SqlLedger(connection, database, 0.0)
        assert book.held_by("22001234")["login"] == first.login
        assert book.held_by("22005678")["login"] == other.login


def test_the_search_for_a_free_name_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "HOMONYMS_MAX", 2)
    minted(database, "22000001")
    minted(database, "22000002")
    with pytest.raises(NamesExhausted) as exhausted:
        minted(database, "22000003")
    assert exhausted.value.cause == "names_exhausted"
    assert "the highest counter" in str(exhausted.value)


def test_the_database_itself_refuses_a_second_holder(database: Database) -> None:
    minted(database, "22001234")
    row = {
        "kind": "login",
        "value": "jean.dupont",
        "student_number": "22005678",
        "origin": "x",
        "recorded_at": 0,
    }
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(ledger.insert().values(**row))


def test_the_first_name_given_stays_the_one(database: Database) -> None:
    first = minted(database, "22001234")
    with database.write() as connection:
        book = SqlLedger(connection, database, database.now(connection) + 1)
        book.reserve("mail", "a.dupont@etu.univ-exemple.fr", holder="22001234", origin="alias")
        assert book.held_by("22001234")["mail"] == first.mail
        assert book.all_of("22001234", "mail") == [first.mail, "a.dupont@etu.univ-exemple.fr"]


def test_a_name_is_handed_over_from_a_student_who_has_not_activated_only(database: Database) -> None:
    login, people = minted(database, "22001234").login, People(database)
    jean = KnownPerson("22001234", Identity(birth_date=date(2005, 3, 1)), 1, activated_at=1_000.0)
    with database.write() as connection:
        people.add(connection, jean)
        book = SqlLedger(connection, database, 2_000.0)
        assert not book.hand_over("login", login, holder="22005678", origin=DIRECTORY)
        people.change(connection, "22001234", activated_at=None)
        assert book.hand_over("login", login, holder="22005678", origin=DIRECTORY)
        assert book.held_by("22005678") == {"login": login}
        assert book.held_by("22001234") == {}
