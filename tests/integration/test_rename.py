"""A mail address that follows a change of name: the same entry, the same mailbox, the same Moodle user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.target import Done, Task
from sandbox.moodle import MoodleStandIn
from schemas.account import Account, Person
from sesame.testing.servers.directory_kit import Consumer, account
from sesame.testing.servers.ldap_tools import search
from sesame.testing.servers.mailbox_kit import WELCOME, Desk
from sesame.testing.servers.moodle_kit import Handlers, Operator, handle_one
from sesame.testing.servers.post_office import PostOffice
from tests.integration.test_mailbox_handler import write_to

PASSWORD = "Sésame-ouvre-2026"  # the one with which the post office logs in


@pytest.fixture
def consumer(office: PostOffice) -> Iterator[Consumer]:
    made = Consumer(office.slapd)
    with closing(made.handler):
        yield made


def married(one: Account, mail: str, *aliases: str, version: int = 2) -> Account:
    person = Person(birth_name="Moreau", usage_name="Lefebvre", given_name="Claire")
    return one.model_copy(update={"version": version, "mail": mail, "aliases": aliases, "person": person})


def test_the_entry_keeps_its_place_and_both_addresses_and_goes_back(
    office: PostOffice, consumer: Consumer
) -> None:
    one = account()
    consumer.bring(one)
    new = f"claire.lefebvre.{one.student_number}@univ-exemple.fr"
    for after in (married(one, new, one.mail), married(one, one.mail, new, version=3)):
        assert isinstance(consumer.bring(after), Done)
        found = search(office.slapd, office.slapd.people_dn, f"(supannEtuId={one.student_number})", "*")
        [(dn, entry)] = found.items()
        assert dn == f"uid={one.login},{office.slapd.people_dn}"
        assert (entry["mail"], entry["supannAutreMail"]) == ([after.mail], list(after.aliases))


def test_the_mailbox_stays_where_it_is_and_takes_mail_at_both_addresses(
    office: PostOffice, consumer: Consumer, desk: Desk
) -> None:
    ref = consumer.vault.put("ref-renommee", PASSWORD)
    one = account(credential_ref=ref)
    consumer.bring(one)
    handler = desk.handler()
    assert isinstance(handler.handle([Task(one)])[one.student_number], Done)
    write_to(office, one.mail, "avant")
    new = f"claire.lefebvre.{one.student_number}@univ-exemple.fr"
    after = married(one, new, one.mail)
    assert isinstance(consumer.bring(after), Done)
    assert isinstance(handler.handle([Task(after)])[one.student_number], Done)
    for address, subject in ((one.mail, "a l'ancienne adresse"), (new, "a la nouvelle")):
        write_to(office, address, subject)
    for user in (new, one.mail):  # the student's mail program may still have the address of before
        messages = office.messages(user)
        subjects = [message["Subject"] for message in messages]
        assert subjects[1:] == ["avant", "a l'ancienne adresse", "a la nouvelle"]
        ids = [message["Message-ID"] for message in messages]
        assert ids.count(WELCOME.message_id(one.student_number)) == 1


def test_the_moodle_user_is_the_same_with_the_new_address(tmp_path: Path) -> None:
    with MoodleStandIn(tmp_path / "moodle") as site:
        handlers, operator = Handlers(site), Operator(site)
        handler = handlers()
        one = account()
        assert isinstance(handle_one(handler, one), Done)
        before = operator.user(one.student_number)
        after = married(one, "claire.lefebvre@univ-exemple.fr", one.mail)
        assert isinstance(handle_one(handler, after), Done)
        user = operator.user(one.student_number)
        handlers.close()
    assert (user["id"], user["username"]) == (before["id"], one.login)
    assert (user["email"], user["lastname"]) == ("claire.lefebvre@univ-exemple.fr", "Lefebvre")
