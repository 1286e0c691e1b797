"""An account as a SCIM user, and what of a user that a service shows is read."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.scim import resources
from schemas.account import Account, Person
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.narrowing import present

USER = "urn:ietf:params:scim:schemas:core:2.0:User"


def account(**changes: Any) -> Account:
    return account_of(**{"mail": "Lea.Martin@etu.univ-exemple.fr", **changes})


def test_an_account_as_fields() -> None:
    assert resources.wanted_fields(account(), "login") == {
        "userName": ("lea.martin",),
        "externalId": ("22600001",),
        "name.givenName": ("Léa",),
        "name.familyName": ("Martin",),
        "displayName": ("Léa Martin",),
        "emails": ("lea.martin@etu.univ-exemple.fr",),
        "preferredLanguage": ("fr",),
    }


def test_who_has_one_name_has_no_other() -> None:
    fields = resources.wanted_fields(account(person=Person(birth_name="Sukarno")), "login")
    assert fields["name.givenName"] == ()
    assert resources.new_user(fields, active=True)["name"] == {"familyName": "Sukarno"}
    assert resources.patched_user({"name.givenName": ()}, active=None)["Operations"] == [
        {"op": "remove", "path": "name.givenName"}
    ]


def test_what_is_made_is_shown_as_it_is_wanted() -> None:
    fields = resources.wanted_fields(account(), "principal")
    shown = present(resources.shown({**resources.new_user(fields, active=True), "id": "7"}, "principal"))
    assert (shown.ref, shown.student_number, shown.open) == ("7", "22600001", True)
    assert shown.fields == fields
    assert shown.names == (
        ("principal", "lea.martin@univ-exemple.fr"),
        ("mail", "lea.martin@etu.univ-exemple.fr"),
    )


def test_a_user_without_an_id_is_nobody() -> None:
    assert resources.shown({"userName": "lea.martin"}, "login") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"meta": {"created": "yesterday", "version": 'W/"1"'}},
        {"emails": "lea@exemple.org"},
        {"name": "Léa"},
        {"displayName": ["a", "b"]},
        {"profileUrl": 7},
        {"x509Certificates": [{"value": "no base64!"}]},
        {"urn:example:extension": {"any": "thing"}},
        {"emails": [{"value": "lea@intranet", "type": "éphémère"}]},
    ],
)
def test_what_a_service_has_wrong_hides_nothing_else(wrong: dict[str, Any]) -> None:
    shown = resources.shown(
        {"schemas": [USER], "id": "7", "userName": "lea", "externalId": "22600001", "active": False, **wrong},
        "login",
    )
    assert shown is not None
    assert (shown.ref, shown.student_number, shown.open) == ("7", "22600001", False)
    assert shown.fields["userName"] == ("lea",)


def test_a_user_of_whom_nothing_is_said_is_open() -> None:
    assert present(resources.shown({"id": "7", "userName": "lea"}, "login")).open is True


@pytest.mark.parametrize(
    ("there", "main"),
    [
        ([{"value": "a@x.fr"}, {"value": "b@x.fr", "primary": True}], "b@x.fr"),
        ([{"value": "a@x.fr", "type": "home"}, {"value": "b@x.fr", "type": "work"}], "b@x.fr"),
        ([{"value": "a@x.fr"}, {"value": "b@x.fr"}], "a@x.fr"),
        ([{"type": "work"}], None),
    ],
)
def test_the_address_that_is_ours(there: list[dict[str, Any]], main: str | None) -> None:
    shown = present(resources.shown({"id": "7", "userName": "lea", "emails": there}, "login"))
    assert shown.fields["emails"] == ((main,) if main else ())


def test_a_new_address_takes_the_place_of_the_old_one_and_of_no_other() -> None:
    raw = {
        "id": "7",
        "userName": "lea",
        "emails": [
            {"value": "lea.martin@x.fr", "type": "work", "primary": True},
            {"value": "lea@intranet", "type": "home"},
        ],
    }
    expected = [
        {"value": "lea.petit@x.fr", "type": "work", "primary": True},
        {"value": "lea@intranet", "type": "home", "primary": False},
    ]
    changed = {"emails": ("lea.petit@x.fr",)}
    assert resources.replaced_user(raw, changed, active=None)["emails"] == expected
    assert resources.patched_user(changed, active=None, raw=raw)["Operations"] == [
        {"op": "replace", "path": "emails", "value": expected}
    ]


def test_a_replacement_keeps_what_it_does_not_understand() -> None:
    raw = {
        "schemas": [USER, "urn:example:extension"],
        "id": "7",
        "userName": "lea",
        "meta": {"version": "1"},
        "groups": [{"value": "3"}],
        "urn:example:extension": {"badge": 12},
        "profileUrl": 7,
        "nickName": "Lé",
    }
    body = resources.replaced_user(raw, {"displayName": ("Léa",)}, active=False)
    assert body == {
        "schemas": [USER, "urn:example:extension"],
        "userName": "lea",
        "displayName": "Léa",
        "active": False,
        "nickName": "Lé",
        "urn:example:extension": {"badge": 12},
        "profileUrl": 7,
    }


def test_members_are_named_one_by_one() -> None:
    assert resources.patched_members(["1"], ['2"x'])["Operations"] == [
        {"op": "add", "path": "members", "value": [{"value": "1", "type": "User"}]},
        {"op": "remove", "path": 'members[value eq "2\\"x"]'},
    ]


def test_a_filters_string_cannot_be_left() -> None:
    assert resources.quoted('a" or userName pr or userName eq "é') == (
        '"a\\" or userName pr or userName eq \\"é"'
    )
