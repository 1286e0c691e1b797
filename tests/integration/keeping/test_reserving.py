"""The names of the directory's people are in the ledger before a student is given one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from consumers.registry.identity import mint
from consumers.registry.ledger import SqlLedger, ledger
from consumers.registry.settings import RegistrySettings
from pipeline.db.database import Database
from sandbox.slapd import Slapd
from schemas.account import Person
from sesame.app.tables import metadata
from sesame.operations.identities.name_reservation import Reserved, reserve_names
from sesame.testing.servers.directory_kit import account, directory_of, put
from sesame.testing.servers.ldap_tools import as_provisioner

STAFF = """dn: uid=helene.roussel,{people}
objectClass: inetOrgPerson
objectClass: eduPerson
uid: helene.roussel
cn: Roussel Helene
sn: Roussel
mail: Helene.Roussel@univ-exemple.fr
eduPersonPrincipalName: helene.roussel@univ-exemple.fr
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'store.db'}")) as database:
        with database.write() as connection:
            metadata.create_all(connection)
        yield database


def reserve(slapd: Slapd, database: Database) -> Reserved:
    directory = directory_of(slapd)
    try:
        return reserve_names(directory.objects(), database)
    finally:
        directory.disconnect()


def held(database: Database, value: str) -> list[tuple[str, str | None]]:
    with database.read() as connection:
        rows = connection.execute(
            select(ledger.c.kind, ledger.c.student_number).where(ledger.c.value == value)
        )
        return [(row.kind, row.student_number) for row in rows]


def test_a_student_is_never_given_the_login_of_the_staff(own_slapd: Slapd, database: Database) -> None:
    as_provisioner(own_slapd, "ldapadd", stdin=STAFF.format(people=own_slapd.people_dn))
    found = reserve(own_slapd, database)
    assert found.conflicts == []
    assert held(database, "helene.roussel") == [("login", None)]
    assert held(database, "helene.roussel@univ-exemple.fr") == [("mail", None), ("principal", None)]
    with database.write() as connection:
        names = SqlLedger(connection, database, now=0.0)
        person = Person(birth_name="Roussel", given_name="Hélène")
        assert mint(person, "22600001", RegistrySettings(), names).login == "helene.roussel2"


def test_looking_again_changes_nothing_and_a_students_own_names_are_theirs(
    own_slapd: Slapd, database: Database
) -> None:
    entry = account("22600042")
    directory = directory_of(own_slapd)
    assert put(directory, entry) is None
    directory.disconnect()
    reserve(own_slapd, database)
    with database.read() as connection:
        before = connection.execute(select(ledger).order_by(ledger.c.kind, ledger.c.value)).all()
    assert reserve(own_slapd, database).conflicts == []
    with database.read() as connection:
        after = connection.execute(select(ledger).order_by(ledger.c.kind, ledger.c.value)).all()
    assert before == after
    assert held(database, entry.login) == [("login", "22600042")]


def test_a_name_that_two_claim_is_told_and_left_to_an_operator(own_slapd: Slapd, database: Database) -> None:
    with database.write() as connection:
        SqlLedger(connection, database, now=0.0).reserve(
            "login", "helene.roussel", holder="22600001", origin="minted"
        )
    as_provisioner(own_slapd, "ldapadd", stdin=STAFF.format(people=own_slapd.people_dn))
    found = reserve(own_slapd, database)
    assert found.conflicts == [f"uid=helene.roussel,{own_slapd.people_dn}"]
    assert held(database, "helene.roussel") == [("login", "22600001")]


def test_an_entry_that_an_operator_links_to_a_student_gives_them_its_names(
    own_slapd: Slapd, database: Database
) -> None:
    dn = f"uid=helene.roussel,{own_slapd.people_dn}"
    as_provisioner(own_slapd, "ldapadd", stdin=STAFF.format(people=own_slapd.people_dn))
    reserve(own_slapd, database)
    link = (
        f"dn: {dn}\nchangetype: modify\nadd: objectClass\nobjectClass: supannPerson\n"
        "-\nadd: supannEtuId\nsupannEtuId: 22600001\n"
    )
    as_provisioner(own_slapd, "ldapmodify", stdin=link)
    assert reserve(own_slapd, database).conflicts == []
    assert held(database, "helene.roussel") == [("login", "22600001")]
    with database.write() as connection:
        names = SqlLedger(connection, database, now=0.0)
        person = Person(birth_name="Roussel", given_name="Hélène")
        minted = mint(person, "22600001", RegistrySettings(), names)
    assert (minted.login, minted.mail) == ("helene.roussel", "helene.roussel@univ-exemple.fr")
