"""From an account to what Moodle should hold of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from consumers.kit.connector import Held
from consumers.moodle.causes import MoodleCause, fault
from consumers.moodle.intent import WantedUser, is_shortened, pending_of, shortened, wanted_of
from consumers.moodle.settings import MoodleSettings
from schemas.account import (
    Account,
    Administrative,
    Enrolment,
    Hold,
    Pedagogical,
    Person,
    Requirement,
    Stage,
)
from sesame.operations.people.diagnosis.reasons import explanations
from sesame.testing.servers.moodle_kit import account, cohort

IN_FORCE = Enrolment(
    year=2026,
    step="L1INFO",
    step_version="261",
    step_label="Licence 1 Informatique",
    component="SCI",
    administrative=Administrative.IN_FORCE,
    pedagogical=Pedagogical.VALIDATED,
)
SETTINGS = MoodleSettings(base_url="https://moodle.univ-exemple.fr", token=SecretStr("jeton-d-essai"))


def wanted(one: Account, settings: MoodleSettings = SETTINGS) -> WantedUser:
    intent = wanted_of(one, settings)
    assert isinstance(intent, WantedUser)
    return intent


def test_the_names_shown_are_the_usage_name_and_the_preferred_given_name() -> None:
    person = Person(
        birth_name="Lefèvre", usage_name="Lefèvre-N’Guyen", given_name="Élodie", preferred_given_name="Éli"
    )
    fields = wanted(account(person=person)).fields
    assert fields["firstname"] == "Éli"
    assert fields["lastname"] == "Lefèvre-N’Guyen"
    assert fields["auth"] == "cas"


def test_the_language_is_sent_only_when_its_pack_is_named_as_installed() -> None:
    assert "lang" not in wanted(account()).fields
    french = SETTINGS.model_copy(update={"languages": {"fr": "fr"}})
    assert wanted(account(), french).fields["lang"] == "fr"
    english = Person(birth_name="Okafor", given_name="Ada", language="en")
    assert "lang" not in wanted(account(person=english), french).fields


def test_a_cohort_whose_requirement_is_unmet_is_not_wanted_yet() -> None:
    one = account("22600001", cohort("L1INFO"), cohort("L1MATH", met=False))
    assert wanted(one).cohorts == {"L1INFO-2026": "Étape L1INFO"}
    assert pending_of(one) == Held("pedagogical_enrolment_pending", ("Étape L1MATH",))


def test_what_waits_at_an_enrolment_in_force_is_named_first() -> None:
    pedagogical, administrative = (
        cohort("L1INFO", met=False),
        cohort("L1MATH", met=False, requires=Requirement.ADMINISTRATIVE),
    )
    both = account("22600001", administrative, pedagogical)
    assert pending_of(both) == Held("pedagogical_enrolment_pending", ("Étape L1INFO",))
    alone = account("22600001", administrative)
    assert pending_of(alone) == Held("administrative_enrolment_pending", ("Étape L1MATH",))
    second = account("22600001", administrative, enrolments=(IN_FORCE,))
    assert pending_of(second) == Held("other_enrolment_pending", ("Étape L1MATH",))


def test_nothing_is_pending_for_somebody_who_may_not_enter() -> None:
    held = account("22600001", cohort("L1INFO", met=False), holds=frozenset({Hold.TECHNICAL}))
    assert pending_of(held) is None


@pytest.mark.parametrize(
    ("changes", "suspended"),
    [
        ({"stage": Stage.ACTIVE}, False),
        ({"stage": Stage.GRACE}, False),
        ({"stage": Stage.EXPIRED}, True),
        ({"holds": frozenset({Hold.ADMINISTRATIVE})}, True),
    ],
)
def test_access_decides_on_suspension_and_on_creation(changes: dict[str, Any], suspended: bool) -> None:
    intent = wanted(account(**changes))
    assert (intent.suspended, intent.create) == (suspended, not suspended)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"login": "Élodie.Lefevre"}, MoodleCause.LOGIN_INVALID),
        ({"login": "elodie+lefevre"}, MoodleCause.LOGIN_INVALID),
        ({"login": "e" * 101}, MoodleCause.LOGIN_INVALID),
        ({"mail": "elodie.lefevre"}, MoodleCause.EMAIL_INVALID),
        ({"mail": "élodie@etu.univ-exemple.fr"}, MoodleCause.EMAIL_INVALID),
        ({"mail": "e" * 90 + "@etu.univ-exemple.fr"}, MoodleCause.EMAIL_INVALID),
        ({"person": Person(birth_name="  ", given_name=" ")}, MoodleCause.NAME_MISSING),
        ({"person": Person()}, MoodleCause.NAME_MISSING),
    ],
)
def test_what_moodle_would_refuse_or_wipe_is_not_sent(changes: dict[str, Any], cause: MoodleCause) -> None:
    assert wanted_of(account(**changes), SETTINGS) == fault(cause)


@pytest.mark.parametrize("person", [Person(birth_name="Suharto"), Person(given_name="Suharto")])
def test_an_only_name_is_the_last_name_and_a_full_stop_the_first_one(person: Person) -> None:
    fields = wanted(account(person=person)).fields
    assert (fields["firstname"], fields["lastname"]) == (".", "Suharto")


def test_a_long_name_is_shortened_at_a_word_and_says_so() -> None:
    name = "Maria Aparecida " * 8
    person = Person(birth_name="Silva", given_name=name)
    short = wanted(account(person=person)).fields["firstname"]
    assert short == ("Maria Aparecida " * 6).rstrip() + "…"
    assert is_shortened(account(person=person))
    assert not is_shortened(account())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_no_name_is_longer_than_moodles_column_and_a_short_one_is_kept(name: str) -> None:
    short = shortened(name)
    tidy = " ".join(name.split())
    assert len(short) <= 100
    assert "<" not in short
    if "<" not in tidy:
        assert (short == tidy) if len(tidy) <= 100 else short.endswith("…")


def test_what_moodle_would_take_for_a_tag_stays_readable() -> None:
    assert shortened("<b>Roux</b> & fils") == "\u2039b\u203aRoux\u2039/b\u203a & fils"
    assert shortened("Roux -> Petit") == "Roux -> Petit"


def test_every_cause_explains_itself() -> None:
    for cause in MoodleCause:
        assert cause.explanation
        assert cause.value in explanations()
        found = fault(cause, "L1INFO-2026")
        assert isinstance(found, Held) or found.message.endswith("[L1INFO-2026]")


@pytest.mark.parametrize(
    "base_url",
    [
        "http://moodle.univ-exemple.fr",
        "ftp://moodle.univ-exemple.fr",
        "https://jeton@moodle.univ-exemple.fr",
        "https://moodle.univ-exemple.fr/?a=1",
        "moodle.univ-exemple.fr",
    ],
)
def test_an_address_that_would_leak_the_token_is_refused(base_url: str) -> None:
    with pytest.raises(ValidationError):
        MoodleSettings(base_url=base_url, token=SecretStr("jeton-d-essai"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]"])
def test_plain_http_is_for_this_very_machine(host: str) -> None:
    settings = MoodleSettings(base_url=f"http://{host}/moodle/", token=SecretStr("jeton-d-essai"))
    assert settings.endpoint == f"http://{host}/moodle/webservice/rest/server.php"


def test_the_token_is_never_shown() -> None:
    assert "jeton-d-essai" not in f"{SETTINGS!r} {SETTINGS}"
