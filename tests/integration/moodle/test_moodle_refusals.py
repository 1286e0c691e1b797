"""What Moodle refuses of one student is that student's trouble; the others of the batch are served."""

from __future__ import annotations

import sqlite3

import pytest

from pipeline.target import Dead, Done, Handler, Retry, Waiting
from sandbox.moodle import FaultKind, MoodleStandIn
from schemas.account import Person
from sesame.testing.servers.moodle_kit import (
    CREATE,
    JOIN,
    Handlers,
    Operator,
    account,
    cohort,
    handle,
    handle_one,
    numbers,
    of_kind,
    writes,
)

ELODIE = "22600001"
REFUSED_MAIL = "elodie..lefevre@etu.univ-exemple.fr"  # PHP's filter takes no two dots in a row


@pytest.mark.parametrize("theirs", ["", "22699999"])
def test_a_username_held_by_somebody_else_waits_for_an_operator_while_the_others_are_served(
    handler: Handler, operator: Operator, theirs: str
) -> None:
    holder = operator.create_user(f"elodie.lefevre{ELODIE}", idnumber=theirs)
    before = operator.users("id", str(holder))
    outcomes = handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(10)))
    assert outcomes[ELODIE] == Waiting("moodle_username_taken", recheck_after_s=3600.0)
    assert of_kind(outcomes, Done) == numbers(10)[1:]
    assert operator.users("id", str(holder)) == before


def test_a_rename_to_a_taken_login_waits_and_the_cohorts_are_done(
    handler: Handler, operator: Operator
) -> None:
    handle_one(handler, account(ELODIE))
    operator.create_user("elodie.garnier")
    renamed = account(ELODIE, cohort("L1INFO"), version=2, login="elodie.garnier")
    assert handle_one(handler, renamed) == Waiting("moodle_username_taken", recheck_after_s=3600.0)
    assert operator.user(ELODIE)["username"] == f"elodie.lefevre{ELODIE}"
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]


def test_the_one_row_that_moodle_refuses_is_found_among_fifty(
    handler: Handler, moodle: MoodleStandIn
) -> None:
    accounts = [
        account(each, mail=REFUSED_MAIL) if each == "22600038" else account(each) for each in numbers(50)
    ]
    outcomes = handle(handler, *accounts)
    dead = outcomes["22600038"]
    assert isinstance(dead, Dead)
    assert dead.cause == "moodle_refused_values"
    assert len(of_kind(outcomes, Done)) == 49
    assert writes(moodle)[CREATE] <= 1 + 2 * 6


def test_the_one_update_that_moodle_refuses_is_found_among_fifty(handler: Handler) -> None:
    handle(handler, *(account(each) for each in numbers(50)))
    good = Person(birth_name="Lefèvre", given_name="Élodie", preferred_given_name="Éli")
    accounts = [
        account(each, version=2, mail=REFUSED_MAIL)
        if each == "22600007"
        else account(each, version=2, person=good)
        for each in numbers(50)
    ]
    outcomes = handle(handler, *accounts)
    assert of_kind(outcomes, Dead) == ["22600007"]
    assert len(of_kind(outcomes, Done)) == 49


def test_a_site_administrator_with_a_student_number_is_left_alone(
    handler: Handler, operator: Operator, moodle: MoodleStandIn
) -> None:
    (admin,) = operator.users("username", "admin")
    number = "22600077"
    set_idnumber_in_the_database(moodle, admin["id"], number)
    dead = handle_one(handler, account(number))
    assert isinstance(dead, Dead)
    assert dead.cause == "moodle_admin_account"
    assert operator.users("username", "admin")[0]["firstname"] == admin["firstname"]


def set_idnumber_in_the_database(moodle: MoodleStandIn, userid: int, idnumber: str) -> None:
    moodle.stop()
    with sqlite3.connect(moodle.data_file) as database:
        database.execute(
            "UPDATE users SET idnumber = ?1, idnumber_key = ?1 WHERE id = ?2", (idnumber, userid)
        )
    database.close()
    moodle.start()


def test_outcomes_quote_nobody(handler: Handler, operator: Operator, moodle: MoodleStandIn) -> None:
    moodle.set(debug_display=True)
    operator.create_user(f"elodie.lefevre{ELODIE}")
    operator.create_user("compte.manuel", email="elodie.lefevre22600002@etu.univ-exemple.fr")
    outcomes = handle(handler, account(ELODIE), account("22600002"), account("22600003", mail=REFUSED_MAIL))
    said = repr(list(outcomes.values())).lower()
    assert len(of_kind(outcomes, Done)) == 0
    for personal in ("lefevre", "lefèvre", "élodie", "@etu.univ-exemple.fr", "compte.manuel"):
        assert personal not in said


def test_a_deadlock_passes_unnoticed(handler: Handler, moodle: MoodleStandIn) -> None:
    for function in (CREATE, JOIN):
        moodle.fault(FaultKind.DEADLOCK, calls=2, wsfunction=function)
    outcomes = handle(handler, *(account(each, cohort("L1INFO")) for each in numbers(10)))
    assert len(of_kind(outcomes, Done)) == 10


def test_a_locked_table_is_not_forty_dead_letters(handler: Handler, moodle: MoodleStandIn) -> None:
    moodle.set(rows_locked=True)
    outcomes = handle(handler, *(account(each) for each in numbers(40)))
    assert len(of_kind(outcomes, Retry)) == 40
    assert all(each.cause == "moodle_busy" for each in outcomes.values() if isinstance(each, Retry))
    moodle.set(rows_locked=False)
    assert len(of_kind(handle(handler, *(account(each) for each in numbers(40))), Done)) == 40


def test_a_row_that_the_database_refuses_again_and_again_is_a_dead_letter(
    moodle: MoodleStandIn, handlers: Handlers
) -> None:
    refuse_in_the_database(moodle, "22600003")
    outcomes = handle(handlers(), *(account(each) for each in numbers(8)))
    dead = outcomes["22600003"]
    assert isinstance(dead, Dead)
    assert dead.cause == "moodle_write_refused"
    assert len(of_kind(outcomes, Done)) == 7


def refuse_in_the_database(moodle: MoodleStandIn, idnumber: str) -> None:
    moodle.stop()
    with sqlite3.connect(moodle.data_file) as database:
        database.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON users WHEN NEW.idnumber = '{idnumber}' "
            "BEGIN SELECT RAISE(ABORT, 'Data too long for column'); END"
        )
    database.close()
    moodle.start()
