"""Every kind of name, all the way: the registrar's file, the event, the account, the directory's entry,
Moodle's user and the welcome message."""

# ruff: noqa: E501, RUF001 - names are written as their bearers write them

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from click.testing import CliRunner

from consumers.registry.people import Identity
from pipeline.eventlog.sqlite import SqliteEventLog
from pipeline.target import Done, Task
from sandbox.moodle import MoodleStandIn
from sandbox.slapd import Slapd
from schemas import catalogue
from schemas.account import Account
from schemas.envelope import from_record
from schemas.events import EnrolmentRecorded
from sesame.cli import main
from sesame.testing.servers.directory_kit import PROFILE, Consumer
from sesame.testing.servers.ldap_tools import search
from sesame.testing.servers.mailbox_kit import WELCOME
from sesame.testing.servers.moodle_kit import Handlers, Operator
from sesame.testing.servers.registrar_kit import COLUMNS, ZOE
from sesame.testing.servers.registry_kit import RegistryHarness, activation
from sesame.testing.servers.stores import sqlite_store

BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"


@dataclass(frozen=True)
class Case:
    """One student's names in the file, and what becomes of them.

    Attributes:
        kept: what people read, if it differs from the file: given name and family name.
        cn: the directory's common name, in ASCII.
    """

    about: str
    birth_name: str
    given_name: str
    login: str
    cn: str
    usage_name: str = ""
    kept: tuple[str, str] | None = None

    @property
    def shown(self) -> tuple[str, str]:
        return self.kept or (self.given_name, self.usage_name or self.birth_name)

    @property
    def displayed(self) -> str:
        return " ".join(filter(None, self.shown))


LONG = "Wolfeschlegelsteinhausenbergerdorff" * 5 + "Wolfeschlegelsteinhausenb"  # 200 letters
CASES = (
    Case("accents", "Lefèvre", "Zoé", "zoe.lefevre", "Lefevre Zoe"),
    Case("decomposed", "Lefe\u0300vre", "Noe\u0301", "noe.lefevre", "Lefevre Noe", kept=("Noé", "Lefèvre")),
    Case("ligatures", "Lætitia", "Cœline", "coeline.laetitia", "Laetitia Coeline"),
    Case("usage name", "Moreau", "Claire", "claire.bernard", "Bernard Claire", usage_name="Bernard"),
    Case("straight apostrophe", "d'Arc", "Jeanne", "jeanne.darc", "d'Arc Jeanne"),
    Case("typographic apostrophe", "d’Arcy", "Jeanne", "jeanne.darcy", "d'Arcy Jeanne"),
    Case("okina", "Kaʻahumanu", "Leilani", "leilani.kaahumanu", "Ka`ahumanu Leilani"),
    Case("acute accent as an apostrophe", "O´Brien", "Sean", "sean.obrien", "O'Brien Sean"),
    Case("particles", "de la Tour du Pin", "Inès", "ines.delatour-dupin", "de la Tour du Pin Ines"),
    Case("hyphens", "Martin\u2011Dupont", "Jean-Pierre", "jean-pierre.martin-dupont", "Martin-Dupont Jean-Pierre"),
    Case("double hyphen", "Petit--Roux", "Ana", "ana.petit-roux", "Petit--Roux Ana"),
    Case("one letter", "O", "É", "e.o", "O E"),
    Case("a dash for a name", "Suharto", "-", "suharto", "Suharto -"),
    Case("a family name only", "Sukarno", "", "sukarno", "Sukarno"),
    Case("a given name only", "", "Teller", "teller", "Teller"),
    Case("one name, of one letter", "É", "", "e", "E"),
    Case("one name, that only emoji make", "🎉", "", "22700017", "22700017"),
    Case("200 letters", LONG, "Max", "max." + LONG[:28].lower(), f"{LONG} Max"),
    Case("200 letters of a given name", "Lux", LONG, LONG[:28].lower() + ".lux", f"Lux {LONG}"),
    Case("one name, of 200 letters", LONG, "", LONG[:32].lower(), LONG),
    Case("emoji", "Roux 🎓", "Élodie", "elodie.roux", "Roux Elodie"),
    Case("nothing but emoji", "🎉", "🎓", "22700022", "22700022"),
    Case("combining marks", "Z\u0351\u036ba\u0489lgo", "Tam", "tam.zalgo", "Zalgo Tam"),
    Case("Chinese", "王", "小明", "xiaoming.wang", "Wang XiaoMing"),
    Case("Arabic", "علوي", "محمد", "mhmd.lwy", "`lwy mhmd"),
    Case("Cyrillic", "Щукин", "Иван", "ivan.shchukin", "Shchukin Ivan"),
    Case("Vietnamese", "Nguyễn Đình", "Thị Ánh", "thi-anh.nguyen-dinh", "Nguyen Dinh Thi Anh"),
    Case("right-to-left marks", f"\u202eNoa{BIDI}m", "\u200fDavid\u200e", "david.noam", "Noam David", kept=("David", "Noam")),
    Case("zero width joiner", "Fara\u200dh", "Sam", "sam.farah", "Farah Sam"),
    Case("markup", "<script>alert(1)</script>", "Bob", "bob.scriptalert-1-script", "<script>alert(1)</script> Bob"),
    Case("a filter", "*)(uid=*", "Eve", "eve.uid", "*)(uid=* Eve"),
    Case("a distinguished name", "Roy,ou=people+x=\\y#", 'Al "A"', "al-a.roy-oupeoplex-y", 'Roy,ou=people+x=\\y# Al "A"'),
    Case("a formula", "=cmd|'/c calc'!A1", "Max", "max.cmd-c-calc-a1", "=cmd|'/c calc'!A1 Max"),
    Case("SQL", "Robert'); DROP TABLE people;--", "Tab", "tab.robert-drop-table-people", "Robert'); DROP TABLE people;-- Tab"),
    Case("separators of the file", 'Le;Roy "Jr"', "Luc", "luc.leroy-jr", 'Le;Roy "Jr" Luc'),
    Case("template fields", "{family}", "%s{0}", "s-0.family", "{family} %s{0}"),
)  # fmt: skip
NUMBERS = {f"227{index:05}": case for index, case in enumerate(CASES, 1)}
"""Every case by its student number."""

REFUSED = {
    "22790001": ("Mar\x07tin", "Ada"),
    "22790002": ("Mar\u2028tin", "Ada"),
    "22790003": ("Mar\x1b[31mtin", "Ada"),
    "22790004": (" \u200f ", " "),
}


@dataclass
class World:
    """What the file has become."""

    events: dict[str, EnrolmentRecorded]
    identities: dict[str, Identity]
    accounts: dict[str, Account]
    rejects: str


def row(number: str, birth_name: str, given_name: str, usage_name: str = "") -> dict[str, str]:
    return ZOE | {
        "COD_ETU": number,
        "COD_NNE_IND": "",
        "LIB_NOM_PAT_IND": birth_name,
        "LIB_NOM_USU_IND": usage_name,
        "LIB_PR1_IND": given_name,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The export, imported by the command, and its facts applied by the registry."""
    folder = tmp_path_factory.mktemp("names")
    settings = f'data_dir = "{folder / "data"}"\n[registrar]\none_name = true\n'
    (folder / "sesame.toml").write_text(settings, encoding="utf-8")
    export = folder / "export.csv"
    with export.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=";")
        writer.writeheader()
        for number, case in NUMBERS.items():
            writer.writerow(row(number, case.birth_name, case.given_name, case.usage_name))
        for number, names in REFUSED.items():
            writer.writerow(row(number, *names))
    clean = {name: None for name in os.environ if name.upper().startswith("SESAME_")}
    arguments = ["--config", str(folder / "sesame.toml"), "import", str(export)]
    result = CliRunner(env=clean).invoke(main, arguments, prog_name="sesame")
    assert result.exit_code == 3, result.output  # partly done: some lines are refused
    with (
        closing(SqliteEventLog(folder / "data" / "events.db")) as log,
        closing(log.consumer("test", (catalogue.ENROLMENTS,), member="test")) as consumer,
    ):
        records = consumer.poll(1000, 1.0)
    facts = [from_record(record.key, record.headers, record.value).event for record in records]
    events = {fact.student_number: fact for fact in facts if isinstance(fact, EnrolmentRecorded)}
    desk = RegistryHarness(sqlite_store(folder))
    with closing(desk.database):
        for number in sorted(events):
            desk.apply(events[number])
            desk.apply(activation(number))
        yield World(
            events,
            {number: desk.person(number).identity for number in events},
            {number: desk.account(number) for number in events},
            (folder / "export.rejects.csv").read_text(encoding="utf-8"),
        )


every_case = pytest.mark.parametrize("number", NUMBERS, ids=[case.about for case in CASES])


@every_case
def test_a_name_is_kept_as_it_was_given(world: World, number: str) -> None:
    case, event = NUMBERS[number], world.events[number]
    given_name, family_name = case.shown
    assert (event.given_name or "") == world.identities[number].given_name == given_name
    assert (event.usage_name or event.birth_name or "") == family_name
    person = world.accounts[number].person
    assert (person.shown_given_name, person.family_name) == (given_name, family_name)
    assert person.display_name == case.displayed
    assert unicodedata.is_normalized("NFC", person.display_name)


@every_case
def test_a_login_and_its_addresses_are_made_of_it(world: World, number: str) -> None:
    account, login = world.accounts[number], NUMBERS[number].login
    assert account.login == login
    assert account.mail == account.principal == f"{login}@etu.univ-exemple.fr"


@pytest.mark.parametrize("number", REFUSED)
def test_a_control_character_and_no_name_at_all_are_refused_with_their_line(
    world: World, number: str
) -> None:
    assert number not in world.events
    assert number in world.rejects
    assert all(line.isprintable() for line in world.rejects.lstrip("\ufeff").splitlines())


@pytest.fixture(scope="module")
def entries(world: World, slapd: Slapd) -> dict[str, dict[str, list[str]]]:
    """The entries that a real directory shows, by student number."""
    consumer = Consumer(slapd)
    with closing(consumer.handler):
        tasks = [Task(account) for account in world.accounts.values()]
        outcomes = consumer.handler.handle(tasks)
        assert {number: type(each) for number, each in outcomes.items()} == dict.fromkeys(NUMBERS, Done)
    found = search(slapd, slapd.people_dn, "(supannEtuId=227*)", "*")
    return {entry["supannEtuId"][0]: entry for entry in found.values()}


@every_case
def test_the_directory_shows_it_with_accents_and_in_ascii(
    entries: dict[str, dict[str, list[str]]], number: str
) -> None:
    case, entry = NUMBERS[number], entries[number]
    given_name, family_name = case.shown
    assert entry["uid"] == [case.login]
    assert entry["cn"] == [case.cn]
    assert entry["cn"][0].isascii()
    assert entry["sn"] == [family_name or given_name]
    assert entry.get("givenName", []) == ([given_name] if given_name else [])
    assert entry["displayName"] == [case.displayed]
    assert entry["eduPersonScopedAffiliation"] == [f"member@{PROFILE.scope}", f"student@{PROFILE.scope}"]


@pytest.fixture(scope="module")
def users(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A Moodle site that has everybody."""
    with MoodleStandIn(tmp_path_factory.mktemp("moodle")) as site:
        handlers = Handlers(site)
        outcomes = handlers().handle([Task(account) for account in world.accounts.values()])
        assert {number: type(each) for number, each in outcomes.items()} == dict.fromkeys(NUMBERS, Done)
        yield Operator(site)
        handlers.close()


@every_case
def test_moodle_shows_it(users: Operator, number: str) -> None:
    case, user = NUMBERS[number], users.user(number)
    given_name, family_name = case.shown
    assert user["username"] == case.login
    if not (given_name and family_name):  # Moodle wants two: the only one is the last name
        given_name, family_name = ".", family_name or given_name
    if "<" in family_name:  # PARAM_NOTAGS
        assert user["lastname"] == family_name.replace("<", "‹").replace(">", "›")
    else:
        shown = tuple(f"{name[:99]}…" if len(name) > 100 else name for name in (given_name, family_name))
        assert (user["firstname"], user["lastname"]) == shown


def parts(message: EmailMessage) -> dict[str, str]:
    return {part.get_content_type(): part.get_content() for part in message.iter_parts()}


@every_case
def test_the_welcome_message_greets_by_it_and_is_addressed_safely(world: World, number: str) -> None:
    account = world.accounts[number]
    message = message_from_bytes(WELCOME.render(account), policy=policy.default)
    assert isinstance(message, EmailMessage)
    called = NUMBERS[number].shown[0] or NUMBERS[number].shown[1]
    given_name = " ".join("".join(c if c.isprintable() else " " for c in called).split())
    content = parts(message)
    assert content["text/plain"].startswith(f"Bonjour {given_name},")
    assert account.login in content["text/plain"]
    assert "<script>" not in content["text/html"]
    [recipient] = message["To"].addresses
    assert recipient.addr_spec == account.mail
    assert set(message.keys()) >= {"From", "To", "Subject", "Date", "Message-ID"}
    assert len(message.get_all("To", [])) == 1


def test_no_two_of_them_share_a_login(world: World) -> None:
    logins = [account.login for account in world.accounts.values()]
    assert len(set(logins)) == len(CASES)
