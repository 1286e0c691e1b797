"""Active Directory: what a refusal means, and a user in its words. The answers are Samba's, or as Microsoft's
servers are recorded to give them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from consumers.active_directory.answers import AdRefused, Refusal, bind_refused, reading_refused
from consumers.active_directory.connector import ActiveDirectoryConnector, unguessable
from consumers.active_directory.objects import concerns, login_of, object_of, owned, typed, wanted_fields
from consumers.active_directory.settings import ActiveDirectorySettings
from consumers.kit.connector import TargetObject
from consumers.kit.ldap_answers import LdapAnswer
from pipeline.errors import CredentialsRefused, Misconfigured, TargetDown
from schemas.account import Membership, Person, Requirement
from schemas.language import LANGUAGES
from sesame.testing.servers.accounts import account_of as account
from sesame.testing.servers.narrowing import expect

GIVEN: dict[str, Any] = {
    "uri": "ldaps://dc1.ad.univ-exemple.fr",
    "bind_dn": "CN=sesame,OU=Services,DC=ad,DC=univ-exemple,DC=fr",
    "users_dn": "OU=Etudiants, DC=ad,dc=univ-exemple,DC=fr",
    "groups_dn": "OU=Groupes,DC=ad,DC=univ-exemple,DC=fr",
}
SETTINGS = ActiveDirectorySettings(**GIVEN)
_LOGON = "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error,"


# --- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "remark", "refusal"),
    [
        (19, "0000052D: Constraint violation - check_password_restrictions: too short", "PASSWORD"),
        # Windows: a reset that the policy refuses
        (53, "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0", "PASSWORD"),
        (19, "0000202F: samldb: userPrincipalName 'x@y' is already in use", "PRINCIPAL_TAKEN"),
        (19, "000021C8: AtrErr: DSID-03200BBA, #1: 0: 000021C8: problem 1005", "PRINCIPAL_TAKEN"),
        (19, "0000202F: sAMAccountName contains invalid characters", "VALUE"),
        (68, "00002071: samldb: Account name (sAMAccountName) 'x' already in use!", "NAME_TAKEN"),
        (68, "00000524: UpdErr: DSID-031A11F8, problem 6005 (ENTRY_EXISTS), data 0", "NAME_TAKEN"),
        (50, "00000005: SecErr: DSID-03152612, problem 4003 (INSUFF_ACCESS_RIGHTS)", "RIGHT"),
        (50, "00002098: Object CN=x has no create child access", "RIGHT"),
        (53, "0000216D: SvcErr: DSID-031A1254, problem 5003 (WILL_NOT_PERFORM)", "QUOTA"),
        (11, "00000718: SvcErr: problem 5008 (ADMIN_LIMIT_EXCEEDED)", "QUOTA"),
        (16, "attribute 'userAccountControl': no matching attribute value while deleting", "CHANGED"),
        (32, "", "CHANGED"),
        (53, "Attribute member already deleted for target GUID 862eca41-e7a9", "NOT_MEMBER"),
        (53, "00000561: SvcErr: DSID-031A120C, problem 5003 (WILL_NOT_PERFORM)", "NOT_MEMBER"),
        (51, "", "BUSY"),
        (53, "0000001F: SvcErr: DSID-031A12D2, problem 5003", "OTHER"),
        (50, "00000032: whatever", "RIGHT"),
    ],
)
def test_a_refusal_is_known_by_windows_error_and_else_by_the_code(
    code: int, remark: str, refusal: str
) -> None:
    assert AdRefused(LdapAnswer(code, remark)).refusal is Refusal[refusal]


def test_a_refusal_tells_attributes_and_no_values() -> None:
    remark = (
        "00002082: AtrErr: DSID-03151D8B, #1: 0: 00002082: DSID-03151D8B, problem 1005 (CONSTRAINT_ATT_TYPE),"
        " data 0, Att 23 (employeeID):len 40 Martin"
    )
    assert AdRefused(LdapAnswer(19, remark)).told == "LDAP result 19, error 0x2082, about employeeID"


def test_a_name_that_is_taken_may_be_our_own_earlier_try() -> None:
    assert AdRefused(LdapAnswer(68, "")).refused().unknown
    assert not AdRefused(LdapAnswer(68, "")).refused().lasting


@pytest.mark.parametrize(
    ("code", "remark", "kind", "says"),
    [
        (49, f"{_LOGON} data 532, v4563", CredentialsRefused, "its password has expired"),
        (49, "NT_STATUS_LOGON_FAILURE", CredentialsRefused, "refuses Sésame's account"),
        (8, "", Misconfigured, "TLS"),
        (52, "", TargetDown, "now"),
    ],
)
def test_a_refused_bind_says_why(code: int, remark: str, kind: type[Exception], says: str) -> None:
    error = bind_refused(LdapAnswer(code, remark))
    assert type(error) is kind
    assert says in str(error)


def test_a_refused_search_is_about_our_settings() -> None:
    assert isinstance(reading_refused(LdapAnswer(51)), TargetDown)
    assert "users_dn" in expect(Misconfigured, reading_refused(LdapAnswer(32))).remedy


# --- a user -------------------------------------------------------------------------------------------


def test_what_is_wanted_is_what_is_owned() -> None:
    wanted = wanted_fields(account(credential_ref="r"), SETTINGS)
    assert {*wanted, "userAccountControl"} == set(owned(SETTINGS))


def test_somebody_with_one_name_has_it_as_the_family_name() -> None:
    wanted = wanted_fields(account(person=Person(given_name="Suharto")), SETTINGS)
    assert (wanted["sn"], wanted["givenName"], wanted["displayName"]) == (("Suharto",), (), ("Suharto",))


def test_groups_are_those_that_are_given_now_in_one_case() -> None:
    memberships = tuple(
        Membership(key=key, name=key, requires=Requirement.PEDAGOGICAL, met=met)
        for key, met in (("L1-Info", True), ("l1-info", True), ("TD", False))
    )
    assert wanted_fields(account(groups=memberships), SETTINGS)["memberOf"] == ("l1-info",)
    alone = ActiveDirectorySettings(**{**GIVEN, "groups_dn": None})
    assert "memberOf" not in wanted_fields(account(groups=memberships), alone)


@pytest.mark.parametrize(
    ("login", "short", "shown"),
    [
        ("lea.martin", None, "lea.martin"),
        ("a" * 20, None, "a" * 20),
        ("a" * 21, None, None),
        ("a" * 21, "a" * 20, "a" * 20),
        ("lea+martin", None, None),
        ("lea martin", None, None),
    ],
)
def test_a_login_of_windows_has_twenty_characters(login: str, short: str | None, shown: str | None) -> None:
    assert login_of(account(login=login, short_login=short)) == shown


def test_an_entry_is_shown_in_its_words() -> None:
    raw = {
        "objectGUID": [bytes(range(16))],
        "employeeID": [b"22600001"],
        "sAMAccountName": [b"Lea.Martin"],
        "sn": ["Marti\u0301n".encode()],
        "userAccountControl": [b"514"],
        "uSNChanged": [b"3912"],
    }
    shown = object_of(raw, ["td", "info"], SETTINGS)
    assert shown.ref == "03020100-0504-0706-0809-0a0b0c0d0e0f"
    assert (shown.student_number, shown.open, shown.revision) == ("22600001", False, "3912")
    assert shown.names == (("login", "Lea.Martin"),)
    assert (shown.fields["sn"], shown.fields["memberOf"]) == (("Martín",), ("info", "td"))


def test_names_are_compared_without_case_and_a_shared_address_is_nobodys_collision() -> None:
    def having(kind: str, value: str) -> TargetObject:
        return TargetObject("x", names=((kind, value),))

    assert concerns(having("login", "LEA.MARTIN"), account(), SETTINGS)
    assert concerns(having("principal", "Lea.Martin@Univ-Exemple.fr"), account(), SETTINGS)
    assert not concerns(having("mail", "lea.martin@etu.univ-exemple.fr"), account(), SETTINGS)
    assert not concerns(having("login", ""), account(login="l" * 30), SETTINGS)


@given(st.text(max_size=40))
def test_a_password_is_sent_in_quotes_as_utf_16(password: str) -> None:
    try:
        expected = b"\x22\x00" + password.encode("utf-16-le") + b"\x22\x00"
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    assert typed(password) == expected


def test_an_unguessable_password_is_another_one_each_time_and_of_three_kinds() -> None:
    first, second = unguessable(), unguessable()
    assert first != second
    assert len(first) > 40
    assert any(c.islower() for c in first)
    assert any(c.isupper() for c in first)
    assert any(c.isdigit() for c in first)


# --- settings and words -------------------------------------------------------------------------------


def test_the_domain_is_what_the_units_name_ends_with() -> None:
    assert SETTINGS.domain_dn == "DC=ad,dc=univ-exemple,DC=fr"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("users_dn", "OU=Etudiants"),
        ("uri", "http://dc1"),
        ("upn_suffix", "@univ.fr"),
        ("number_attribute", "sn"),
    ],
)
def test_settings_that_cannot_work_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        ActiveDirectorySettings(**{**GIVEN, name: value})


def test_every_cause_of_a_refusal_has_words() -> None:
    answers = [
        AdRefused(LdapAnswer(code, remark))
        for code in (1, 11, 16, 19, 48, 50, 53, 68)
        for remark in ("", "0000052D:", "000021C8:", "already deleted")
    ]
    assert {each.refusal for each in answers} == set(Refusal)
    causes = {each.refused().cause for each in answers}
    for cause in causes:
        assert all(ActiveDirectoryConnector.reasons[cause].words[language].what for language in LANGUAGES)
