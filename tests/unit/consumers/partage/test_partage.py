"""Partage: what BSS's answers mean, and an account in Partage's words."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consumers.partage.answers import BssMessage, NotBss, parse
from consumers.partage.connector import PartageConnector, unusable_password
from consumers.partage.objects import concerns, filter_of, object_of, owned, wanted_fields, without_others
from consumers.partage.settings import PartageSettings
from schemas.account import Account, Person
from schemas.language import LANGUAGES
from sesame.testing.servers.accounts import account_of

# As libPythonBssApi's own test has it, shortened; the array of aliases as its `fillAccount` reads it.
SAMPLE = """<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <status type="integer">0</status>
  <message>Opération réalisée avec succès !</message>
  <account>
    <name>Test@domain.com</name>
    <id>idTest</id>
    <mav-redirection></mav-redirection>
    <used type="integer">0</used>
    <carLicense>eppn@domain.com</carLicense>
    <givenName>Rémi</givenName>
    <sn>Peillet</sn>
    <displayName> Rémi  Peillet </displayName>
    <zimbraAccountStatus>active</zimbraAccountStatus>
    <zimbraMailQuota>0</zimbraMailQuota>
    <zimbraMailAlias type="array">
      <zimbraMailAlias>z@domain.com</zimbraMailAlias>
      <zimbraMailAlias>A@domain.com</zimbraMailAlias>
    </zimbraMailAlias>
    <zimbraNotes>22600001</zimbraNotes>
    <zimbraHideInGal>FALSE</zimbraHideInGal>
  </account>
</Response>"""


def answer(status: int, message: str) -> bytes:
    return f"<Response><status>{status}</status><message>{message}</message></Response>".encode()


def account(**changes: Any) -> Account:
    aliases = ("lea.durand@etu.univ-exemple.fr", "LM@etu.univ-exemple.fr")
    return account_of(**{"mail": "Lea.Martin@etu.univ-exemple.fr", "aliases": aliases, **changes})


DOMAIN = "etu.univ-exemple.fr"
SETTINGS = PartageSettings(domain=DOMAIN)

# --- answers ------------------------------------------------------------------------------------------


def test_the_clients_own_sample_is_read() -> None:
    read = parse(SAMPLE.encode())
    assert (read.status, read.meaning) == (0, BssMessage.OK)
    [found] = [object_of(each, SETTINGS) for each in read.accounts()]
    assert (found.ref, found.student_number, found.open) == ("idTest", "22600001", True)
    assert found.fields["name"] == ("test@domain.com",)
    assert found.fields["zimbraMailAlias"] == ("a@domain.com", "z@domain.com")
    assert found.fields["displayName"] == ("Rémi Peillet",)
    assert found.fields["zimbraPrefMailForwardingAddress"] == ()
    assert ("principal", "eppn@domain.com") in found.names


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("Invalid token", BssMessage.TOKEN_EXPIRED),
        ("unable to get connection: pool", BssMessage.TEMPORARY),
        ("LDAP error: busy", BssMessage.TEMPORARY),
        ("system failure: ldap", BssMessage.TEMPORARY),
        ("Une erreur système bloque votre requête", BssMessage.TEMPORARY),
        ("unable to create account: x", BssMessage.TEMPORARY),
        ("mailbox in maintenance mode", BssMessage.MAINTENANCE),
        ("no such account: lea@x.fr", BssMessage.NO_SUCH),
        ("lea@x.fr ne fait pas partie des domaines", BssMessage.DOMAIN_UNKNOWN),
        ("email address already exists: lea@x.fr", BssMessage.TAKEN),
        ("Accès refusé", BssMessage.ACCESS_REFUSED),
        ("tout autre chose", BssMessage.OTHER),
        ("", BssMessage.OTHER),
    ],
)
def test_an_error_is_known_by_its_message(message: str, meaning: BssMessage) -> None:
    assert parse(answer(2, message)).meaning is meaning
    assert parse(answer(0, message)).meaning is BssMessage.OK, "what counts is the status"


def test_operators_are_told_what_is_wrong_and_not_about_whom() -> None:
    said = parse(answer(2, "attribut refusé Martin pour lea.martin@etu.fr et Léa: valeur secrète"))
    told = said.told({"sn": "Martin", "givenName": "Léa", "limit": "1"})
    assert told == "attribut refusé … pour … et … (status 2)"


BOMB = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<Response><status>0</status><message>&b;</message></Response>"""
OUTSIDE = b"""<!DOCTYPE r SYSTEM "file:///etc/passwd"><Response><status>0</status></Response>"""


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        SAMPLE.encode()[:-40],
        b"<Response><status>OK</status></Response>",
        b"<Response><message>no status</message></Response>",
        b"<Response><status>0</status></Response><Response/>",
        b"<Response><status>0</status><message>&undefined;</message></Response>",
        b'{"status": 0}',
        b'<?xml version="1.0" encoding="klingon"?><Response/>',
        BOMB,
        BOMB.decode().encode("utf-16"),
        OUTSIDE,
    ],
)
def test_what_is_no_answer_of_bss_is_refused(body: bytes | None) -> None:
    with pytest.raises(NotBss):
        parse(body)


@given(st.binary(max_size=300))
def test_whatever_comes_is_an_answer_or_is_not(body: bytes) -> None:
    with contextlib.suppress(NotBss):
        parse(body)


# --- an account -----------------------------------------------------------------------------------------


def test_an_account_in_partage_s_words() -> None:
    assert wanted_fields(account(), SETTINGS) == {
        "name": ("lea.martin@etu.univ-exemple.fr",),
        "zimbraMailAlias": ("lea.durand@etu.univ-exemple.fr", "lm@etu.univ-exemple.fr"),
        "carLicense": ("lea.martin@univ-exemple.fr",),
        "sn": ("Martin",),
        "givenName": ("Léa",),
        "displayName": ("Léa Martin",),
        "zimbraPrefMailForwardingAddress": (),
        "zimbraNotes": ("22600001",),
    }


def test_what_the_settings_leave_out_is_not_ours() -> None:
    given = PartageSettings(
        domain=DOMAIN,
        redirection=False,
        hidden=True,
        quota_bytes=0,
        class_of_service="c-1",
        number_attribute="pager",
    )
    wanted = wanted_fields(account(mail_redirect="lea@exemple.org"), given)
    assert "zimbraPrefMailForwardingAddress" not in wanted
    assert "zimbraNotes" not in wanted
    assert (wanted["zimbraHideInGal"], wanted["zimbraMailQuota"]) == (("TRUE",), ("0",))
    assert (wanted["zimbraCOSId"], wanted["pager"]) == (("c-1",), ("22600001",))
    assert {*wanted, "zimbraAccountStatus"} == {*owned(given)}
    assert {*owned(SETTINGS)} <= {*PartageConnector.owns}


def test_who_has_one_name_only_has_it_as_the_family_name() -> None:
    wanted = wanted_fields(account(person=Person(given_name="Sukarno")), SETTINGS)
    assert (wanted["sn"], wanted["givenName"], wanted["displayName"]) == (("Sukarno",), (), ("Sukarno",))


def test_somebody_else_s_alias_on_the_account_is_left_out_of_the_comparison() -> None:
    [found] = [object_of(each, SETTINGS) for each in parse(SAMPLE.encode()).accounts()]
    ours = without_others(found, account(aliases=("z@domain.com",)))
    assert ours.fields["zimbraMailAlias"] == ("z@domain.com",)
    assert ours.names == found.names, "whoever renames it must know of every address"


@pytest.mark.parametrize(
    ("changes", "does"),
    [
        ({"student_number": "1", "mail": "a@domain.com"}, True),  # an alias of it
        ({"student_number": "1", "aliases": ("TEST@domain.com",)}, True),
        ({"student_number": "1", "principal": "EPPN@domain.com"}, True),
        ({"student_number": "22600001"}, True),
        ({"student_number": "1"}, False),
    ],
)
def test_an_account_concerns_whoever_wants_a_name_of_it(changes: dict[str, Any], does: bool) -> None:
    [found] = [object_of(each, SETTINGS) for each in parse(SAMPLE.encode()).accounts()]
    assert concerns(found, account(**changes)) is does


def test_a_filter_holds_every_name_and_no_syntax_of_a_value() -> None:
    odd = account(mail="a*(b)@etu.fr", aliases=(), principal="p\\@univ.fr", student_number="7")
    assert filter_of([odd], SETTINGS) == (
        "(|(zimbraNotes=7)(mail=a\\2a\\28b\\29@etu.fr)(zimbraMailAlias=a\\2a\\28b\\29@etu.fr)"
        "(carLicense=p\\5c@univ.fr))"
    )


@pytest.mark.parametrize(
    ("status", "is_open"),
    [("active", True), ("lockout", True), ("closed", False), ("locked", False), ("pending", False)],
)
def test_who_may_log_in_has_an_open_account(status: str, is_open: bool) -> None:
    text = SAMPLE.replace(">active<", f">{status}<")
    [found] = [object_of(each, SETTINGS) for each in parse(text.encode()).accounts()]
    assert found.open is is_open


def test_the_password_that_an_account_must_have_is_nobody_s() -> None:
    one, other = unusable_password(), unusable_password()
    assert one != other
    assert one.startswith("{SSHA512}")
    assert len(base64.b64decode(one.removeprefix("{SSHA512}"))) == 64 + 8


# --- settings and words --------------------------------------------------------------------------------


def test_the_key_does_not_travel_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="https"):
        PartageSettings(domain=DOMAIN, url="http://partage.univ-exemple.fr/service/domain")


def test_every_reason_has_words_in_each_language() -> None:
    assert set(PartageConnector.reasons) == {
        "partage_maintenance",
        "partage_unwell",
        "partage_refused",
        "partage_address_taken",
        "partage_domain_unknown",
    }
    for reason in PartageConnector.reasons.values():
        assert all(reason.words[language].what and reason.words[language].next for language in LANGUAGES)
