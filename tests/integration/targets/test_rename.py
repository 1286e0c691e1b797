"""A mail address that follows a change of name: the same entry, the same mailbox, the same Moodle user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumers.registry.settings import RegistrySettings
from pipeline.errors import TargetDown
from pipeline.target import Done, HandlerOutcome, Task
from sandbox.moodle import MoodleStandIn
from sandbox.samba import Samba
from sandbox.scim import ScimServer
from schemas.account import Account
from sesame.testing.servers.directory_kit import Consumer
from sesame.testing.servers.ldap_tools import search
from sesame.testing.servers.mailbox_kit import WELCOME, DovecotHarness
from sesame.testing.servers.moodle_kit import Handlers, Operator, handle_one
from sesame.testing.servers.post_office import PostOffice
from sesame.testing.servers.registry_kit import RegistryHarness as Registry
from sesame.testing.servers.registry_kit import activation, enrolled
from sesame.testing.servers.stores import sqlite_store
from tests.integration.active_directory import active_directory_kit
from tests.integration.mailbox.test_mailbox_handler import write_to
from tests.integration.scim import scim_kit

PASSWORD = "Sésame-ouvre-2026"  # the one with which the post office logs in


@pytest.fixture
def consumer(office: PostOffice) -> Iterator[Consumer]:
    made = Consumer(office.slapd)
    with closing(made.handler):
        yield made


# --- a life of names, from the registrar's file to every target ---

CLAIRE, CLARA = "22699001", "22699002"
DOMAIN = "univ-exemple.fr"

# What the registrar's file says next, what people read then, and the address; the login is never another one.
STORY: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("is enrolled", {"birth_name": "Moreau"}, "Claire Moreau", "claire.moreau"),
    ("an accent is corrected", {"birth_name": "Moréau"}, "Claire Moréau", "claire.moreau"),
    ("marries", {"usage_name": "Lefèbvre"}, "Claire Lefèbvre", "claire.lefebvre"),
    ("settles for another given name", {"preferred_given_name": "Clara"}, "Clara Lefèbvre", "clara.lefebvre"),
    ("has somebody else's name now", {"usage_name": "Durand"}, "Clara Durand", "clara.durand2"),
    (
        "is as in the beginning",
        {"usage_name": None, "preferred_given_name": None},
        "Claire Moréau",
        "claire.moreau",
    ),
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    settings = RegistrySettings(mail_domain=DOMAIN, rename="mail")
    desk = Registry(sqlite_store(tmp_path), settings)
    with closing(desk.database):
        yield desk


def story(registry: Registry) -> Iterator[tuple[str, Account, str, str]]:
    """Each event of Claire's, with the account that follows and what it should say."""
    registry.apply(enrolled(CLARA, birth_name="Durand", given_name="Clara", personal_mail="c@d.example"))
    registry.apply(activation(CLARA))
    said: dict[str, Any] = {"given_name": "Claire"}
    for sequence, (what, change, shown, local) in enumerate(STORY, start=2):
        said |= change
        registry.apply(enrolled(CLAIRE, sequence, **said))
        if sequence == 2:
            registry.apply(activation(CLAIRE))
        yield what, registry.account(CLAIRE), shown, f"{local}@{DOMAIN}"


def follow(
    registry: Registry,
    bring: Callable[[Account], HandlerOutcome],
    shown: Callable[[Account], tuple[object, dict[str, object]]],
) -> None:
    """Bring a target along, and compare what it shows: its object stays the same."""
    identities = set()
    for what, now, name, mail in story(registry):
        assert (now.login, now.mail, now.person.display_name) == ("claire.moreau", mail, name)
        assert isinstance(bring(now), Done), what
        identity, words = shown(now)
        identities.add(str(identity))
        given, _, family = name.partition(" ")
        expected = {"given": given, "family": family, "mail": mail, "display": name}
        assert words == {word: expected[word] for word in words}, what
    assert len(identities) == 1
    former = set(registry.account(CLAIRE).aliases)
    assert former == {f"{local}@{DOMAIN}" for local in ("claire.lefebvre", "clara.lefebvre", "clara.durand2")}
    registry.apply(enrolled("22699003", 1, birth_name="Lefebvre", given_name="Clara", ine="0ABCDE12345"))
    assert registry.account("22699003").mail == f"clara.lefebvre2@{DOMAIN}", "nobody is given a former one"


PLAIN = str.maketrans("éè", "ee")


def test_entry_and_mailbox_follow_and_take_mail_at_every_address_that_was_theirs(
    office: PostOffice, consumer: Consumer, desk: DovecotHarness, registry: Registry
) -> None:
    ref, handler = consumer.vault.put("ref-noms", PASSWORD), desk.handler()

    def bring(now: Account) -> HandlerOutcome:
        with_password = now.model_copy(update={"credential_ref": ref})
        assert isinstance(consumer.bring(with_password), Done)
        return handler.handle([Task(with_password)])[CLAIRE]

    def shown(now: Account) -> tuple[object, dict[str, object]]:
        for address in (now.mail, *now.aliases):
            write_to(office, address, f"{address} {now.version}")
        messages = office.messages(now.mail)
        for former in now.aliases:  # the student's mail program may still have it
            assert [each["Message-ID"] for each in office.messages(former)] == [
                each["Message-ID"] for each in messages
            ]
        assert [each["Message-ID"] for each in messages].count(WELCOME.message_id(CLAIRE)) == 1
        subjects = {each["Subject"] for each in messages}
        assert {f"{address} {now.version}" for address in (now.mail, *now.aliases)} <= subjects
        found = search(office.slapd, office.slapd.people_dn, f"(supannEtuId={CLAIRE})", "*")
        [(dn, entry)] = found.items()
        assert set(entry.get("supannAutreMail", [])) == set(now.aliases)
        plain = f"{now.person.family_name} {now.person.shown_given_name}".translate(PLAIN)
        assert entry["cn"] == [plain]
        words = {"given": "givenName", "family": "sn", "mail": "mail", "display": "displayName"}
        same = (dn, entry["uid"], entry["eduPersonPrincipalName"], messages[0]["Message-ID"])
        return same, {word: entry[name][0] for word, name in words.items()}

    follow(registry, bring, shown)


def test_the_moodle_user_follows_even_where_moodle_was_down_at_the_wedding(
    tmp_path: Path, registry: Registry
) -> None:
    with MoodleStandIn(tmp_path / "moodle") as site:
        handlers, operator = Handlers(site), Operator(site)
        handler = handlers()

        def bring(account: Account) -> HandlerOutcome:
            if account.person.usage_name == "Lefèbvre" and account.person.preferred_given_name is None:
                site.kill()
                with pytest.raises(TargetDown):
                    handle_one(handler, account)
                site.start()
            return handle_one(handler, account)

        def shown(_account: Account) -> tuple[object, dict[str, object]]:
            user = operator.user(CLAIRE)
            words = {"given": "firstname", "family": "lastname", "mail": "email"}
            return (user["id"], user["username"]), {word: user[name] for word, name in words.items()}

        follow(registry, bring, shown)
        handlers.close()


def test_the_scim_user_follows(scim: ScimServer, registry: Registry) -> None:
    eyes, desk = scim_kit.Eyes(scim), scim_kit.ScimHarness(scim)
    eyes.empty()

    def shown(_account: Account) -> tuple[object, dict[str, object]]:
        [user] = eyes.ask("GET", "/Users?count=100")["Resources"]
        [mail] = [each["value"] for each in user["emails"] if each.get("primary")]
        name = user["name"]
        said = {
            "given": name["givenName"],
            "family": name["familyName"],
            "mail": mail,
            "display": user["displayName"],
        }
        return (user["id"], user["userName"]), said

    follow(registry, desk.outcome, shown)
    desk.handler.close()


def test_the_user_of_the_domain_follows_and_keeps_its_name(samba: Samba, registry: Registry) -> None:
    domain, desk = active_directory_kit.Domain(samba), active_directory_kit.ActiveDirectoryHarness(samba)
    domain.empty()

    def shown(_account: Account) -> tuple[object, dict[str, object]]:
        user = domain.user(CLAIRE)
        words = {"given": "givenName", "family": "sn", "mail": "mail", "display": "displayName"}
        same = (domain.dn(CLAIRE), domain.guid(CLAIRE), user["sAMAccountName"], user["userPrincipalName"])
        return same, {word: user[name][0] for word, name in words.items()}

    follow(registry, desk.outcome, shown)
    desk.handler.close()
