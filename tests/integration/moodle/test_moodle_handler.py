"""Accounts in, a Moodle site, outcomes out: what is written, what is left alone, what is read back."""

from __future__ import annotations

import pytest

from consumers.kit.deadline import Deadline
from pipeline.target import Done, Handler, Waiting
from sandbox.moodle import MoodleStandIn
from schemas.account import Hold, Person
from sesame.testing.servers.moodle_kit import (
    Handlers,
    Operator,
    account,
    calls,
    cohort,
    handle,
    handle_one,
    numbers,
)

ELODIE = "22600001"


def test_a_new_student_has_a_cas_user_in_the_cohorts_of_her_steps(
    handler: Handler, operator: Operator
) -> None:
    outcome = handle_one(handler, account(ELODIE, cohort("L1INFO"), cohort("L1MATH")))
    assert isinstance(outcome, Done)
    assert outcome.changed
    user = operator.user(ELODIE)
    assert (user["username"], user["auth"], user["suspended"]) == (f"elodie.lefevre{ELODIE}", "cas", False)
    assert (user["firstname"], user["lastname"]) == ("Élodie", "Lefèvre")
    assert user["email"] == f"elodie.lefevre{ELODIE}@etu.univ-exemple.fr"
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026", "L1MATH-2026"]


def test_fifty_students_cost_a_handful_of_calls(handler: Handler, moodle: MoodleStandIn) -> None:
    handle_one(handler, account("22699999", cohort("L1INFO"), cohort("L1MATH")))
    before = sum(calls(moodle).values())
    outcomes = handle(handler, *(account(each, cohort("L1INFO"), cohort("L1MATH")) for each in numbers(50)))
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    # Read by number, create, join, read back users and members.
    assert sum(calls(moodle).values()) - before == 5


def test_only_what_differs_is_written_and_what_is_the_students_own_is_left(
    handler: Handler, operator: Operator
) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    operator.update_user(operator.user(ELODIE)["id"], city="Besançon", lastname="Ecrasé", department="UFR ST")
    outcome = handle_one(handler, account(ELODIE, cohort("L1INFO")))
    assert isinstance(outcome, Done)
    assert outcome.changed
    user = operator.user(ELODIE)
    assert (user["lastname"], user["city"], user["department"]) == ("Lefèvre", "Besançon", "UFR ST")


def test_a_new_login_renames_the_user_and_keeps_it(handler: Handler, operator: Operator) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    before = operator.user(ELODIE)
    married = account(
        ELODIE,
        cohort("L1INFO"),
        version=2,
        login="elodie.garnier",
        mail="elodie.garnier@etu.univ-exemple.fr",
        person=Person(birth_name="Lefèvre", usage_name="Garnier", given_name="Élodie"),
    )
    assert isinstance(handle_one(handler, married), Done)
    after = operator.user(ELODIE)
    assert after["id"] == before["id"]
    assert (after["username"], after["lastname"]) == ("elodie.garnier", "Garnier")
    assert after["email"] == "elodie.garnier@etu.univ-exemple.fr"
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]


def test_an_idnumber_that_differs_in_case_is_somebody_else(handler: Handler, operator: Operator) -> None:
    other = operator.create_user("quelquun.dautre", idnumber="e2260001")
    mine = account("E2260001", login="elodie.lefevre", mail="elodie.lefevre@etu.univ-exemple.fr")
    assert isinstance(handle_one(handler, mine), Done)
    (untouched,) = operator.users("id", str(other))
    assert (untouched["username"], untouched["idnumber"]) == ("quelquun.dautre", "e2260001")
    (user,) = operator.users("username", "elodie.lefevre")
    assert (user["idnumber"], user["id"] != other) == ("E2260001", True)


def test_a_cohort_without_its_enrolment_is_pending_by_name_while_the_rest_is_done(
    handler: Handler, operator: Operator
) -> None:
    outcome = handle_one(handler, account(ELODIE, cohort("L1INFO"), cohort("L1MATH", met=False)))
    assert outcome == Waiting("pedagogical_enrolment_pending", pending=("Étape L1MATH",))
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]
    validated = account(ELODIE, cohort("L1INFO"), cohort("L1MATH"), version=2)
    assert isinstance(handle_one(handler, validated), Done)
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026", "L1MATH-2026"]


def test_an_enrolment_that_is_taken_back_takes_the_membership_back(
    handler: Handler, operator: Operator
) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    outcome = handle_one(handler, account(ELODIE, cohort("L1INFO", met=False), version=2))
    assert isinstance(outcome, Waiting)
    assert operator.cohorts_of(ELODIE) == []


@pytest.mark.parametrize("hold", list(Hold))
def test_a_hold_suspends_and_lifting_it_gives_access_back(
    handler: Handler, operator: Operator, hold: Hold
) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    outcome = handle_one(handler, account(ELODIE, cohort("L1INFO"), version=2, holds=frozenset({hold})))
    assert isinstance(outcome, Done)
    assert outcome.changed
    assert operator.user(ELODIE)["suspended"]
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L1INFO"), version=3)), Done)
    assert not operator.user(ELODIE)["suspended"]


def test_a_long_name_is_shortened_and_the_outcome_says_so(handler: Handler, operator: Operator) -> None:
    person = Person(birth_name="de la Rochefoucauld " * 6, given_name="Anne")
    outcome = handle_one(handler, account(ELODIE, person=person))
    assert isinstance(outcome, Done)
    assert "shortened" in outcome.note
    assert operator.user(ELODIE)["lastname"].endswith("…")
    assert handle_one(handler, account(ELODIE, person=person)) == Done(
        outcome.digest, changed=False, note=outcome.note
    )


def test_names_with_ampersands_apostrophes_and_rare_letters_arrive_as_they_are(
    handler: Handler, operator: Operator
) -> None:
    person = Person(birth_name="O’Neil & Çelik", given_name="Zoé-Ŀluïsa 😀")
    assert isinstance(handle_one(handler, account(ELODIE, person=person)), Done)
    user = operator.user(ELODIE)
    assert (user["firstname"], user["lastname"]) == ("Zoé-Ŀluïsa 😀", "O’Neil & Çelik")


def test_everybody_is_shown_as_one_by_one(handlers: Handlers, handler: Handler) -> None:
    accounts = [account(each, cohort("L1INFO")) for each in numbers(7)]
    handle(handler, *accounts)
    connector = handlers.connector()
    shown = {each.student_number: each for each in connector.objects()}
    asked = connector.read(accounts, Deadline.after(10.0))
    assert asked == {number: [shown[number]] for number in numbers(7)}
    assert shown[ELODIE].fields["cohorts"] == ("L1INFO-2026",)
    connector.disconnect()


def test_the_description_names_what_is_owned_and_no_secret(moodle: MoodleStandIn, handler: Handler) -> None:
    described = handler.describe()
    assert described.name == "moodle"
    assert "suspended" in described.owns
    assert "lang" not in described.owns
    assert moodle.token not in repr(described)
