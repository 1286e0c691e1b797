"""Names that differ by case or encoding alone, through look-ups of Moodle, the directory and the login."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from consumers.kit.ldap import all_of, any_of
from pipeline.db.database import Database
from pipeline.target import Dead, Done, Waiting
from sandbox.moodle import MoodleStandIn
from sandbox.slapd import Slapd
from sesame.login.client import CasClient
from sesame.login.login import CasLogins
from sesame.login.port import LoginServer, Validated
from sesame.testing.servers import directory_kit, stores
from sesame.testing.servers.directory_kit import Consumer, fresh_number, put
from sesame.testing.servers.ldap_tools import as_provisioner, search
from sesame.testing.servers.moodle_kit import Handlers, Operator, account, handle_one, writes

ELODIE, PAUL = "22600001", "22600002"


@pytest.fixture(scope="module")
def consumer(slapd: Slapd) -> Iterator[Consumer]:
    made = Consumer(slapd)
    yield made
    made.handler.close()


@pytest.mark.parametrize(
    ("field", "stands"),
    [
        ("firstname", "ÉLODIE"),
        ("firstname", "elodie"),
        ("firstname", "E\u0301lodie"),
        ("lastname", "LEFEVRE"),
        ("lastname", "lefèvre"),
        ("email", "{email:upper}"),
        ("email", "{email:first}"),
    ],
)
def test_a_field_of_moodle_that_differs_by_case_alone_is_written_and_then_is_as_wanted(
    handlers: Handlers, moodle: MoodleStandIn, operator: Operator, field: str, stands: str
) -> None:
    handle_one(handlers(), account(ELODIE))
    wanted = operator.user(ELODIE)
    upper = wanted["email"].upper()
    value = {"{email:upper}": upper, "{email:first}": upper[0] + wanted["email"][1:]}.get(stands, stands)
    operator.update_user(wanted["id"], **{field: value})
    assert operator.user(ELODIE)[field] == value
    assert isinstance(handle_one(handlers(), account(ELODIE), compare=True), Done)
    assert operator.user(ELODIE)[field] == wanted[field]
    before = writes(moodle)
    assert isinstance(handle_one(handlers(), account(ELODIE), compare=True), Done)
    assert writes(moodle) == before


@pytest.mark.parametrize("stands", ["a22600001", "\uff2122600001"])
def test_a_user_whose_number_differs_by_case_is_nobodys_and_stays_as_it_was(
    handlers: Handlers, operator: Operator, stands: str
) -> None:
    """MariaDB finds it by the number, and by the login: it may be another person's."""
    me = account("A22600001", login="elodie.a", mail="elodie.a@etu.univ-exemple.fr")
    other = operator.create_user("elodie.a", idnumber=stands, email="autre@univ-exemple.fr")
    before = operator.users("id", str(other))
    outcome = handle_one(handlers(), me, compare=True)
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "moodle_username_taken"
    assert operator.users("id", str(other)) == before


LOGINS = ("zoe.autre{n}", "ZOE.AUTRE{n}", "Zoe.Autre{n}", "zoe.AUTRE{n}")


@pytest.mark.parametrize("stands", LOGINS)
@pytest.mark.parametrize("wanted", LOGINS)
def test_anothers_entry_with_the_login_in_other_letters_is_a_collision(
    slapd: Slapd, consumer: Consumer, stands: str, wanted: str
) -> None:
    number = fresh_number()
    dn = f"uid={stands.format(n=number)},{slapd.people_dn}"
    as_provisioner(
        slapd,
        "ldapadd",
        stdin=f"dn: {dn}\nobjectClass: inetOrgPerson\nuid: {stands.format(n=number)}\ncn: Autre\nsn: Autre\n"
        "employeeNumber: 4711\n",
    )
    before = search(slapd, dn, "(uid=*)", "*", "entryCSN")
    login = wanted.format(n=number)
    me = directory_kit.account(number, login=login)
    refused = put(consumer.directory, me)
    assert refused is not None
    assert refused.cause == "identity_collision"
    assert consumer.handler.preview([me])[number].obstacle == "identity_collision"
    outcome = consumer.bring(me)
    assert isinstance(outcome, Dead)
    assert outcome.cause == "identity_collision"
    assert search(slapd, dn, "(uid=*)", "*", "entryCSN") == before


SPECIAL = (
    "a*b",
    "*",
    "a(b)c",
    ")(uid=*",
    "back\\slash",
    "\\2a",
    "é",
    "L'É",
    "a b",
    "a=b",
    "a|b&!c",
    "\u0410",
)


@pytest.mark.parametrize("value", SPECIAL)
def test_a_value_with_characters_of_a_filter_finds_its_own_entry_and_no_other(
    slapd: Slapd, value: str
) -> None:
    mine, other = fresh_number(), fresh_number()
    for number, given in ((mine, value), (other, "x" + value.replace("*", "y"))):
        coded = base64.b64encode(given.encode()).decode()
        as_provisioner(
            slapd,
            "ldapadd",
            stdin=f"dn: uid=s{number},{slapd.people_dn}\nobjectClass: inetOrgPerson\nuid: s{number}\n"
            f"cn: Autre\nsn: Autre\nemployeeNumber: {mine}\ndepartmentNumber:: {coded}\n",
        )
    mine_only = any_of("departmentNumber", [value])
    both = all_of([("employeeNumber", mine), ("departmentNumber", value)])
    for criterion in (f"(&(employeeNumber={mine}){mine_only})", both):
        assert list(search(slapd, slapd.people_dn, criterion, "uid")) == [f"uid=s{mine},{slapd.people_dn}"]


class OtherCase:
    """The CAS server, which gives the login in other letters than the account has."""

    def __init__(self, server: LoginServer, spell: Callable[[str], str]) -> None:
        self._server = server
        self._spell = spell
        self.service_url = server.service_url

    def __getattr__(self, name: str) -> object:
        return getattr(self._server, name)

    def validate(self, ticket: str) -> Validated:
        return Validated(self._spell(ticket))


@pytest.mark.parametrize("spell", [str.upper, str.title, str.lower])
def test_a_login_that_cas_gives_in_other_letters_is_the_students(
    store_url: str, spell: Callable[[str], str]
) -> None:
    database = Database(store_url)
    kept = [account(number, login=login) for number, login in ((ELODIE, "elodie.lefevre"), (PAUL, "paul"))]
    for one in kept:
        stores.keep(database, one)
    server = CasClient("https://cas.univ-exemple.fr/cas", "https://compte.univ-exemple.fr/cas")
    logins = CasLogins(database, OtherCase(server, spell), session_s=60.0)  # type: ignore[arg-type]
    arrival = logins.arrive("elodie.lefevre", expected=ELODIE)
    assert (arrival.student_number, arrival.as_expected) == (ELODIE, True)
    session = logins.session(arrival.token)
    assert session is not None
    assert session.student_number == ELODIE
    assert logins.arrive("nobody").student_number is None
    database.close()
