"""Staff and guests: the same life by other rules, and a person who is a student besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.registry.lifecycle.entitlements import Entitlement
from consumers.registry.lifecycle.settings import LifecycleSettings
from consumers.registry.lifecycle.stages import Lifecycle
from consumers.registry.settings import MembershipTemplate, PopulationRules, RegistrySettings
from schemas.account import Stage
from schemas.events import EnrolmentRecorded, IdentityDecided, IdentityDecision, ProlongationRequested
from sesame.testing.servers.registry_kit import (
    LEA,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
)
from sesame.testing.servers.registry_kit import unlike_others as of

ANNE, MARC = "P-004711", "P-004712"
LAST_DAY = date(2026, 12, 31)
SETTINGS = RegistrySettings(
    mail_domain="etu.univ.example",
    grace_days=30,
    cohorts=(
        MembershipTemplate(key="{step}-{year}", name="{step_label} {year}"),
        MembershipTemplate(key="people-{component}", name="{component}", populations=frozenset({"staff"})),
    ),
    populations=(
        PopulationRules(
            name="staff",
            label="Personnel",
            affiliations=("staff", "employee", "member"),
            mail_domain="univ.example",
            login_template="{given_initial}{family}",
            grace_days=5,
        ),
        PopulationRules(name="guest", label="Invité", affiliations=("affiliate",), grace_days=0),
    ),
)

MakeHarness = Callable[..., RegistryHarness]


@pytest.fixture
def make(store_url: str) -> Iterator[MakeHarness]:
    with ExitStack() as stack:

        def made(
            settings: RegistrySettings = SETTINGS, rules: LifecycleSettings | None = None
        ) -> RegistryHarness:
            services = ("mailbox", "moodle")
            desk = RegistryHarness(store_url, settings, rules=rules or LifecycleSettings(), services=services)
            stack.enter_context(closing(desk.database))
            return desk

        yield made


def hired(
    number: str = ANNE, sequence: int = 1, ends_on: date | None = LAST_DAY, **more: Any
) -> EnrolmentRecorded:
    """The fact about somebody of another population, as their feed states it."""
    population = more.pop("population", "staff")
    usual = {
        "source": "staff",
        "year": 1990,
        "step": population,
        "step_version": "UNIV",
        "step_label": "Personnel",
        "component": "UNIV",
        "primary": False,
        "birth_name": "Roux",
        "given_name": "Anne",
        "birth_date": date(1975, 3, 12),
        "population": population,
        "ends_on": ends_on,
    }
    return enrolled(number, sequence, **(usual | more))


def test_staff_have_their_own_names_affiliations_and_cohorts(make: MakeHarness) -> None:
    desk = make()
    desk.apply(hired())
    desk.apply(activation(ANNE))
    account = desk.account(ANNE)
    assert (account.login, account.mail) == ("aroux", "aroux@univ.example")
    assert account.affiliations == ("staff", "employee", "member")
    assert (account.entities, account.valid_until) == (("UNIV",), LAST_DAY)
    assert [cohort.key for cohort in account.cohorts] == ["people-UNIV"]
    desk.apply(of(LEA))
    assert desk.account().mail.endswith("@etu.univ.example")
    assert [cohort.key for cohort in desk.account().cohorts] == ["L1INFO-2026"]
    assert desk.account().affiliations == ("student", "member")


def test_access_ends_with_the_contract_after_the_grace_of_its_population(make: MakeHarness) -> None:
    desk = make()
    desk.apply(hired())
    desk.apply(hired(MARC, given_name="Marc", birth_date=date(1980, 1, 2), ends_on=None))
    for number in (ANNE, MARC):
        desk.apply(activation(number))
    for day, stage in (
        (LAST_DAY, Stage.ACTIVE),
        (LAST_DAY + timedelta(1), Stage.GRACE),
        (LAST_DAY + timedelta(6), Stage.GRACE),
        (LAST_DAY + timedelta(7), Stage.EXPIRED),
    ):
        desk.pass_time(day)
        assert desk.account(ANNE).stage is stage, day
    assert desk.account(ANNE).affiliations == ()
    assert (desk.account(MARC).stage, desk.account(MARC).valid_until) == (Stage.ACTIVE, None)


def test_who_activates_before_the_feed_comes_has_the_names_of_staff_too(make: MakeHarness) -> None:
    desk = make()
    desk.apply(activation(ANNE))
    desk.apply(hired())
    assert (desk.account(ANNE).login, desk.account(ANNE).mail) == ("aroux", "aroux@univ.example")


def test_of_two_positions_the_one_without_an_end_counts(make: MakeHarness) -> None:
    desk = make()
    desk.apply(hired())
    desk.apply(activation(ANNE))
    desk.apply(hired(step_version="CNRS", component="CNRS", ends_on=None))
    assert (desk.account(ANNE).valid_until, len(desk.account(ANNE).enrolments)) == (None, 2)
    desk.pass_time(LAST_DAY + timedelta(1))
    assert [each.component for each in desk.account(ANNE).enrolments] == ["CNRS"]
    assert desk.account(ANNE).stage is Stage.ACTIVE


def test_a_later_last_day_prolongs_and_an_end_in_the_past_opens_nothing(make: MakeHarness) -> None:
    desk = make()
    desk.apply(hired())
    desk.apply(activation(ANNE))
    desk.apply(hired(sequence=2, ends_on=LAST_DAY + timedelta(365)))
    desk.pass_time(LAST_DAY + timedelta(1))
    assert (desk.account(ANNE).stage, desk.account(ANNE).valid_until) == (
        Stage.ACTIVE,
        LAST_DAY + timedelta(365),
    )
    desk.apply(hired(MARC, given_name="Marc", birth_date=date(1980, 1, 2), ends_on=date(2020, 1, 1)))
    assert desk.maybe_account(MARC) is None


def test_a_guest_has_no_grace_and_two_of_them_live_by_their_own_days(make: MakeHarness) -> None:
    desk = make()
    guests = {"G-00000001": ("Ada", LAST_DAY), "G-00000002": ("Éva", LAST_DAY + timedelta(10))}
    for number, (name, day) in guests.items():
        desk.apply(hired(number, population="guest", given_name=name, ends_on=day))
        desk.apply(activation(number))
    desk.pass_time(LAST_DAY + timedelta(2))
    stages = {number: desk.account(number).stage for number in guests}
    assert stages == {"G-00000001": Stage.EXPIRED, "G-00000002": Stage.ACTIVE}


def test_a_month_and_day_of_the_academic_year_mean_nothing_to_staff(make: MakeHarness) -> None:
    rows = (
        Entitlement(target="moodle", populations=frozenset({"staff"}), opens_on=date(2026, 11, 1)),
        Entitlement(target="mailbox", everybody=True, opens_on="09-01", shuts_on="06-30"),
    )
    desk = make(rules=LifecycleSettings(entitlements=rows))
    desk.apply(hired(ends_on=None))
    desk.apply(activation(ANNE))
    account = desk.account(ANNE)
    assert account.at("mailbox").stage is Stage.ACTIVE
    assert account.at("moodle").stage is Stage.PRECREATED
    assert account.opens_on == {"moodle": date(2026, 11, 1)}
    desk.pass_time(date(2026, 11, 1))
    assert desk.account(ANNE).at("moodle").stage is Stage.ACTIVE


@pytest.mark.parametrize(
    ("row", "students", "staff"),
    [
        ({"populations": ["staff"], "open": False}, Stage.ACTIVE, Stage.PRECREATED),
        ({"populations": ["student"], "open": False}, Stage.PRECREATED, Stage.ACTIVE),
        ({"affiliations": ["student"], "open": False}, Stage.PRECREATED, Stage.ACTIVE),
        ({"affiliations": ["member"], "open": False}, Stage.PRECREATED, Stage.PRECREATED),
        ({"populations": ["staff", "student"], "open": False}, Stage.PRECREATED, Stage.PRECREATED),
        ({"populations": ["guest"], "open": False}, Stage.ACTIVE, Stage.ACTIVE),
    ],
)
def test_a_service_is_for_a_kind_of_person(
    make: MakeHarness, row: dict[str, Any], students: Stage, staff: Stage
) -> None:
    rows = (Entitlement.model_validate({"target": "moodle", **row}),)
    desk = make(rules=LifecycleSettings(entitlements=rows))
    desk.apply(of(LEA))
    desk.apply(hired())
    for number in (LEA, ANNE):
        desk.apply(activation(number))
    assert desk.account(LEA).at("moodle").stage is students
    assert desk.account(ANNE).at("moodle").stage is staff


def test_a_student_who_is_staff_too_is_a_question_and_then_one_account(make: MakeHarness) -> None:
    desk = make()
    who: dict[str, Any] = {"birth_name": "Roux", "given_name": "Anne", "birth_date": date(1975, 3, 12)}
    desk.apply(enrolled(LEA, **who))
    desk.apply(activation(LEA))
    desk.apply(hired())
    assert desk.maybe_account(ANNE) is None, "nothing is made while somebody has to look"
    assert [letter.cause for letter in desk.letters(ANNE)] == ["doubtful_identity"]
    desk.apply(IdentityDecided(student_number=ANNE, decision=IdentityDecision.MERGE, other=LEA))
    account = desk.account(LEA)
    assert account.login == "anne.roux"
    assert set(account.affiliations) == {"student", "member", "staff", "employee"}
    assert {cohort.key for cohort in account.cohorts} == {"L1INFO-2026", "people-UNIV"}
    assert account.valid_until == date(2027, 10, 31), "the longer of both"
    desk.apply(cancelled(LEA, 9))
    assert (desk.account(LEA).valid_until, desk.account(LEA).stage) == (LAST_DAY, Stage.ACTIVE)
    assert desk.account(LEA).affiliations == ("staff", "employee", "member")


def test_one_address_at_home_makes_no_question(make: MakeHarness) -> None:
    desk = make()
    desk.apply(of(LEA, personal_mail="maison@example.org"))
    desk.apply(hired(personal_mail="maison@example.org"))
    assert desk.account(ANNE).login == "aroux"
    assert desk.letters(ANNE) == []


def test_one_ine_with_two_birth_dates_is_a_question(make: MakeHarness) -> None:
    desk = make()
    who: dict[str, Any] = {"birth_name": "Roux", "given_name": "Anne", "ine": "060904317KT"}
    desk.apply(enrolled(LEA, **who, birth_date=date(1975, 3, 12)))
    desk.apply(hired(ine="060904317KT", birth_date=date(1975, 12, 3)))
    assert desk.maybe_account(ANNE) is None
    [letter] = desk.letters(ANNE)
    assert (letter.cause, LEA in letter.message) == ("doubtful_identity", True)


def test_a_population_that_the_settings_no_longer_name_keeps_the_least(make: MakeHarness) -> None:
    desk = make()
    desk.apply(hired(population="emeritus"))
    desk.apply(activation(ANNE))
    account = desk.account(ANNE)
    assert (account.affiliations, account.stage) == (("affiliate",), Stage.ACTIVE)
    assert account.cohorts == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"populations": [{"name": "student", "label": "x", "affiliations": ["member"]}]}, "named once"),
        (
            {"populations": [{"name": "staff", "label": each, "affiliations": ["staff"]} for each in "ab"]},
            "staff: each other population is named once",
        ),
        ({"populations": [{"name": "staff", "label": "x", "affiliations": ["boss"]}]}, "faculty"),
        ({"populations": [{"name": "staff", "label": "x", "affiliations": []}]}, "at least 1"),
        (
            {"cohorts": [{"key": "{step}", "name": "x", "populations": ["stuff"]}]},
            "stuff: no such population",
        ),
        ({"cohorts": [{"key": "{step}-{year}", "name": "x", "populations": ["staff"]}]}, "a {year}"),
    ],
)
def test_settings_that_contradict_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("{", r"\{")):
        RegistrySettings.model_validate(changes)


@pytest.mark.parametrize(
    "row",
    [
        {"populations": ["staff"], "affiliations": ["student"]},
        {"populations": ["staff"], "affiliations": ["affiliate"]},
        {"populations": ["staff"], "everybody": True},
        {"populations": ["staff", "guest"], "opens_on": "01-15"},
        {"populations": ["staff"], "shuts_on": "06-30"},
    ],
)
def test_a_row_that_contradicts_itself_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Entitlement.model_validate({"target": "moodle", **row})


# --- guests, whom a sponsor has invited ---


def invited(number: str, sequence: int = 1, **more: Any) -> EnrolmentRecorded:
    usual = {"population": "guest", "source": "guests", "sponsor": MARC, "given_name": f"Ada{number[-1]}"}
    return hired(number, sequence, **(usual | more))


def longer(number: str, until: date, ends_on: date = LAST_DAY) -> ProlongationRequested:
    return ProlongationRequested(student_number=number, ends_on=ends_on, until=until)


def test_an_invitation_is_prolonged_for_one_guest_and_not_another(make: MakeHarness) -> None:
    desk = make()
    until = LAST_DAY + timedelta(90)
    for number in ("G-1", "G-2"):
        desk.apply(invited(number))
        desk.apply(activation(number))
    desk.apply(longer("G-1", until))
    assert [desk.account(number).valid_until for number in ("G-1", "G-2")] == [until, LAST_DAY]
    desk.apply(longer("G-1", until + timedelta(1)))
    assert desk.account("G-1").valid_until == until, "the day that was shown is not the last one any more"
    desk.apply(longer("G-2", LAST_DAY - timedelta(1)))
    assert desk.account("G-2").valid_until == LAST_DAY
    desk.apply(invited("G-1", 10**9, ends_on=LAST_DAY))
    assert desk.account("G-1").valid_until == LAST_DAY, "a new fact wins"


def test_a_guest_s_warnings_are_foreseen_before_the_last_day(make: MakeHarness) -> None:
    desk, days = make(), LifecycleSettings(warn_days=(30, 10))
    for number, until in (("G-1", LAST_DAY), ("G-2", LAST_DAY + timedelta(5))):
        desk.apply(invited(number, ends_on=until))
        desk.apply(activation(number))
    lifecycle, ada = Lifecycle(RegistrySettings(), days), desk.account("G-1")
    ahead = [LAST_DAY - timedelta(30), LAST_DAY - timedelta(10)]
    assert lifecycle.warnings(ada, LAST_DAY - timedelta(40)) == ahead
    assert lifecycle.warnings(ada, LAST_DAY - timedelta(29)) == ahead[1:]
    desk.pass_time(LAST_DAY + timedelta(1))
    assert lifecycle.warnings(desk.account("G-1"), LAST_DAY + timedelta(1)) == []


def test_a_guest_who_has_left_comes_back_by_a_longer_invitation(make: MakeHarness) -> None:
    desk = make()
    for number in ("G-1", "G-2"):
        desk.apply(invited(number, ends_on=LAST_DAY if number == "G-1" else None))
        desk.apply(activation(number))
    desk.pass_time(LAST_DAY + timedelta(5))
    assert desk.account("G-1").stage is Stage.EXPIRED
    desk.apply(longer("G-1", LAST_DAY + timedelta(30), ends_on=desk.account("G-1").valid_until or LAST_DAY))
    assert desk.account("G-1").stage in (Stage.ACTIVE, Stage.GRACE)


@pytest.mark.parametrize("kept", ["G-1", "G-2"])
def test_of_two_invitations_of_one_person_the_later_last_day_counts(make: MakeHarness, kept: str) -> None:
    desk = make()
    for number, name, day in (("G-1", "Ada", LAST_DAY), ("G-2", "Ida", LAST_DAY + timedelta(9))):
        desk.apply(invited(number, given_name=name, ends_on=day))
    desk.apply(activation(kept))
    gone = "G-2" if kept == "G-1" else "G-1"
    desk.apply(IdentityDecided(student_number=gone, other=kept, decision=IdentityDecision.MERGE))
    assert desk.account(kept).valid_until == LAST_DAY + timedelta(9)
    until = LAST_DAY + timedelta(30)
    desk.apply(longer(kept, until, ends_on=LAST_DAY + timedelta(9)))
    assert desk.account(kept).valid_until == until


def test_staff_are_prolonged_by_their_own_feed_alone(make: MakeHarness) -> None:
    desk = make()
    desk.apply(hired())
    desk.apply(activation(ANNE))
    desk.apply(longer(ANNE, LAST_DAY + timedelta(30)))
    assert desk.account(ANNE).valid_until == LAST_DAY
