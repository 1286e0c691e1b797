"""The SupAnn entry of an account, without any server."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.directory.entry import OWNED, Profile, user_password, wanted_fields
from consumers.directory.settings import DirectorySettings
from schemas.account import (
    Account,
    Administrative,
    Enrolment,
    Hold,
    Membership,
    Pedagogical,
    Person,
    Requirement,
    Stage,
)
from sesame.testing.servers.accounts import account_of

PROFILE = Profile(DirectorySettings(uai="0751717J", mail_quota="1G"), scope="univ-exemple.fr")


def enrolment(step: str = "L2DROIT", **fields: Any) -> Enrolment:
    state: dict[str, Any] = {
        "year": 2026,
        "step": step,
        "step_version": "110",
        "step_label": "Licence 2 Droit",
        "component": "DSP",
        "administrative": Administrative.IN_FORCE,
        "pedagogical": Pedagogical.PENDING,
    }
    return Enrolment(**(state | fields))


def account(**fields: Any) -> Account:
    state: dict[str, Any] = {
        "version": 3,
        "person": Person(birth_name="d’Artagnan", given_name="Noémie"),
        "affiliations": ("student",),
        "entities": ("DSP", "SCI"),
        "enrolments": (enrolment(),),
        "valid_until": date(2027, 12, 31),
    }
    return account_of("22601234", "noemie.d-artagnan", **(state | fields))


def attributes(profile: Profile = PROFILE, **fields: Any) -> dict[str, tuple[str, ...]]:
    return wanted_fields(account(**fields), profile)


def test_names_follow_supann() -> None:
    shown = attributes(person=Person(birth_name="Çelik", usage_name="Çelik-Öztürk", given_name="Zoé"))
    assert (shown["cn"], shown["displayName"], shown["sn"]) == (
        ("Celik-Ozturk Zoe",),
        ("Zoé Çelik-Öztürk",),
        ("Çelik-Öztürk",),
    )


@pytest.mark.parametrize(
    ("name", "ascii_name"),
    [
        ("ŒUVRARD", "OEUVRARD"),
        ("Œuvrard", "Oeuvrard"),
        ("D’ŒUVRE-Œillet", "D'OEUVRE-Oeillet"),
        ("ÆGIR", "AEGIR"),
        ("Ægir", "Aegir"),
        ("STRAẞE", "STRASSE"),
        ("WEIß", "WEISS"),
        ("Weiß", "Weiss"),
        ("Þór ÞÓR", "Thor THOR"),
        ("NGUYỄN", "NGUYEN"),
    ],
)
def test_a_letter_that_is_spelt_by_several_follows_the_capitals_of_its_word(
    name: str, ascii_name: str
) -> None:
    assert attributes(person=Person(birth_name=name, given_name="Zoé"))["cn"] == (f"{ascii_name} Zoe",)


def test_the_preferred_given_name_is_the_only_one_shown() -> None:
    person = Person(birth_name="Martin", given_name="Julien", preferred_given_name="Julie")
    entry = attributes(person=person)
    assert entry["givenName"] == ("Julie",)
    assert not any("Julien" in value for values in entry.values() for value in values)


def test_an_enrolment_becomes_a_composite_and_its_atomic_copies() -> None:
    shown = attributes()
    assert shown["supannEtuInscription"] == (
        "[etab={UAI}0751717J][anneeinsc=2026][cursusann={SUPANN}L2][affect=DSP][etape={UAI:0751717J}L2DROIT-110]",
    )
    assert shown["supannEtuEtape"] == ("{UAI:0751717J}L2DROIT-110",)
    assert shown["supannEtuAnneeInscription"] == ("2026",)
    assert shown["supannEtuCursusAnnee"] == ("{SUPANN}L2",)
    assert shown["supannEtuDateFin"] == ("20271231235959Z",)


def test_only_enrolments_in_force_are_shown() -> None:
    cancelled = enrolment("L3HIST", administrative=Administrative.CANCELLED)
    unpaid = enrolment("M1HIST", administrative=Administrative.AWAITING_PAYMENT)
    assert attributes(enrolments=(enrolment(), cancelled, unpaid)) == attributes()


def test_a_step_whose_code_tells_no_cursus_year_leaves_that_key_out() -> None:
    shown = attributes(enrolments=(enrolment("BUT1GEA"),))
    assert shown["supannEtuCursusAnnee"] == ()
    assert "cursusann" not in shown["supannEtuInscription"][0]


def test_a_student_is_a_member_and_values_are_scoped() -> None:
    shown = attributes()
    assert shown["eduPersonAffiliation"] == ("member", "student")
    assert shown["eduPersonPrimaryAffiliation"] == ("student",)
    assert shown["eduPersonScopedAffiliation"] == ("member@univ-exemple.fr", "student@univ-exemple.fr")


@pytest.mark.parametrize(
    ("fields", "state", "enabled"),
    [
        ({}, "{COMPTE}A:SupannActif::20271231", "TRUE"),
        ({"stage": Stage.GRACE}, "{COMPTE}A:SupannSursis::20271231", "TRUE"),
        ({"stage": Stage.EXPIRED}, "{COMPTE}I:SupannExpire::20271231", "FALSE"),
        ({"holds": frozenset({Hold.SUSPENDED})}, "{COMPTE}S:SupannVerrouille::20271231", "FALSE"),
        (
            {"holds": frozenset({Hold.SUSPENDED, Hold.TECHNICAL})},
            "{COMPTE}S:VerrouTechnique::20271231",
            "FALSE",
        ),
    ],
)
def test_stage_and_holds_decide_the_state_of_the_account(
    fields: dict[str, Any], state: str, enabled: str
) -> None:
    entry = attributes(**fields)
    assert state in entry["supannRessourceEtatDate"]
    assert entry["sesameMailEnabled"] == (enabled,)


@pytest.mark.parametrize(
    ("fields", "account_state", "mail_state"),
    [
        ({}, "A:SupannActif:20260901:20271231", "A:SupannActif:20260901:20271231"),
        ({"stage": Stage.EXPIRED}, "I:SupannExpire:20260901:", "I:SupannExpire:20260901:"),
        (
            {
                "stage": Stage.EXPIRED,
                "stages": {"post": Stage.ERASED},
                "stages_since": {"post": date(2028, 7, 1)},
            },
            "I:SupannExpire:20260901:",
            "I:SupannSupprDonnees:20280701:",
        ),
        ({"holds": frozenset({Hold.SUSPENDED})}, "S:SupannVerrouille::", "S:SupannVerrouille::"),
    ],
)
def test_a_state_says_since_when_it_is_so_and_until_when_it_may_be(
    fields: dict[str, Any], account_state: str, mail_state: str
) -> None:
    entry = attributes(replace(PROFILE, mail_target="post"), stage_since=date(2026, 9, 1), **fields)
    assert entry["supannRessourceEtatDate"] == (f"{{COMPTE}}{account_state}", f"{{MAIL}}{mail_state}")


@pytest.mark.parametrize(
    ("fields", "states", "enabled"),
    [
        ({"stages": {"elsewhere": Stage.ERASED}}, {"{COMPTE}A:SupannActif", "{MAIL}A:SupannActif"}, "TRUE"),
        (
            {"stage": Stage.GRACE, "stages": {"post": Stage.EXPIRED}},
            {"{COMPTE}A:SupannSursis", "{MAIL}I:SupannExpire"},
            "FALSE",
        ),
        (
            {
                "stage": Stage.EXPIRED,
                "stages": {"post": Stage.ERASED},
                "holds": frozenset({Hold.STOLEN_PASSWORDS}),
            },
            {"{COMPTE}S:SupannVerrouille", "{MAIL}I:SupannSupprDonnees"},
            "FALSE",
        ),
    ],
)
def test_the_mailbox_may_be_at_another_stage_and_a_hold_does_not_hide_that_it_is_to_be_emptied(
    fields: dict[str, Any], states: set[str], enabled: str
) -> None:
    entry = attributes(replace(PROFILE, mail_target="post"), **fields)
    assert set(entry["supannRessourceEtat"]) == states
    assert entry["sesameMailEnabled"] == (enabled,)


def test_a_group_whose_requirement_is_unmet_is_not_given_yet() -> None:
    met = Membership(
        key="L2DROIT-2026", name="Licence 2 Droit", requires=Requirement.ADMINISTRATIVE, met=True
    )
    unmet = Membership(key="TD-12", name="TD 12", requires=Requirement.PEDAGOGICAL, met=False)
    entry = attributes(groups=(met, unmet))
    assert entry["sesameGroup"] == ("L2DROIT-2026",)
    assert entry["groups"] == ("l2droit-2026",)


@given(family=st.text(min_size=1, max_size=40), given_name=st.text(max_size=40), alias=st.text(max_size=20))
def test_no_name_makes_an_empty_value_or_a_missing_compulsory_one(
    family: str, given_name: str, alias: str
) -> None:
    shown = attributes(person=Person(birth_name=family, given_name=given_name), aliases=(alias,))
    assert set(shown) == {*OWNED, "uid", "supannEtuId", "objectClass", "sesameVersion", "groups"}
    assert shown["cn"]
    assert shown["sn"]
    assert shown["cn"][0].isascii()
    assert all(value.strip() for values in shown.values() for value in values)


def test_a_bare_argon2_hash_gets_slapds_scheme_and_others_are_left_alone() -> None:
    assert user_password("$argon2id$v=19$m=1") == "{ARGON2}$argon2id$v=19$m=1"
    assert user_password("{SSHA512}abcd") == "{SSHA512}abcd"
