"""Cohorts are made once, and a student is in those of the present account and in no other managed one."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from consumers.moodle import site
from pipeline.db.database import Database
from pipeline.target import Dead, Done, Handler, HandlerOutcome
from sandbox.moodle import FaultKind, MoodleStandIn
from sandbox.process import PATIENCE_S
from sesame.testing.servers.moodle_kit import (
    Handlers,
    Operator,
    SlowClock,
    account,
    cohort,
    handle,
    handle_one,
    numbers,
    writes,
)

ELODIE = "22600001"


def test_a_change_of_step_takes_the_student_out_of_the_former_cohort(
    handler: Handler, operator: Operator
) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO"), cohort("L1MATH")))
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L1MATH"), cohort("L2INFO"))), Done)
    assert operator.cohorts_of(ELODIE) == ["L1MATH-2026", "L2INFO-2026"]


def test_a_former_cohort_is_found_after_a_restart(handlers: Handlers, operator: Operator) -> None:
    handle_one(handlers(), account(ELODIE, cohort("L1INFO")))
    assert isinstance(handle_one(handlers(), account(ELODIE, cohort("L2INFO"))), Done)
    assert operator.cohorts_of(ELODIE) == ["L2INFO-2026"]


def test_a_membership_that_another_process_gave_is_found_when_a_student_is_taken_over(
    handlers: Handlers, operator: Operator
) -> None:
    ours, theirs = handlers(SlowClock()), handlers()
    handle(theirs, account(ELODIE), account("22600002", cohort("L1INFO")))
    handle_one(ours, account(ELODIE))  # our picture of the cohorts is from here, and stays young
    handle_one(theirs, account(ELODIE, cohort("L1INFO"), version=2))
    outcome = handle_one(ours, account(ELODIE, cohort("L2INFO"), version=3), compare=True)
    assert isinstance(outcome, Done)
    assert operator.cohorts_of(ELODIE) == ["L2INFO-2026"]


def test_a_membership_that_somebody_took_away_by_hand_is_given_back(
    handler: Handler, operator: Operator
) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    (id_,) = operator.cohorts()["L1INFO-2026"]
    form = {"members[0][cohortid]": id_, "members[0][userid]": operator.user(ELODIE)["id"]}
    operator.call("core_cohort_delete_cohort_members", **form)
    outcome = handle_one(handler, account(ELODIE, cohort("L1INFO")))
    assert isinstance(outcome, Done)
    assert outcome.changed
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026"]


def test_nobody_is_taken_out_of_a_cohort_that_is_not_managed(handler: Handler, operator: Operator) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    choir = operator.create_cohort("CHORALE", "Chorale universitaire")
    last_year = operator.create_cohort("L1INFO-2025", "Étape L1INFO, 2025")
    for each in (choir, last_year):
        operator.join(each, operator.user(ELODIE)["id"])
    assert isinstance(handle_one(handler, account(ELODIE), compare=True), Done)
    assert operator.cohorts_of(ELODIE) == ["CHORALE", "L1INFO-2025"]


def test_a_wanted_cohort_outside_the_templates_is_given_and_never_taken_back(
    handler: Handler, operator: Operator
) -> None:
    handle(handler, account(ELODIE, cohort("DU-FLE")), account("22600002", cohort("DU-FLE")))
    outcome = handle(handler, account(ELODIE), account("22600002", cohort("DU-FLE")), compare=True)
    assert all(isinstance(each, Done) for each in outcome.values())
    assert operator.cohorts_of(ELODIE) == ["DU-FLE-2026"]


def test_an_existing_cohort_is_used_and_keeps_its_name(handler: Handler, operator: Operator) -> None:
    id_ = operator.create_cohort("L1INFO-2026", "Les informaticiens")
    handle_one(handler, account(ELODIE, cohort("L1INFO")))
    assert operator.cohorts()["L1INFO-2026"] == [id_]
    (found,) = operator.call("core_cohort_get_cohorts", **{"cohortids[0]": id_})
    assert found["name"] == "Les informaticiens"


def test_a_cohort_is_found_behind_many_that_look_like_it(handler: Handler, operator: Operator) -> None:
    for index in range(120):
        operator.create_cohort(f"L1INFO-2026-G{index}")
    handle_one(handler, account("22600002"))
    id_ = operator.create_cohort("L1INFO-2026")  # after our listing, so it must be searched for
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L1INFO"))), Done)
    assert operator.cohorts()["L1INFO-2026"] == [id_]


def need_one_new_cohort_at_once(
    moodle: MoodleStandIn, handlers: Handlers, workers: int, *, meeting: int = 0
) -> list[HandlerOutcome]:
    """Workers like those of several processes; `meeting` of them are made to write at the same moment."""
    outcomes: list[HandlerOutcome] = []
    made = [handlers() for _ in range(workers)]
    theirs = [numbers(3, 22600000 + 10 * index) for index in range(workers)]
    for handler, each in zip(made, theirs, strict=True):
        handle(handler, *(account(number) for number in each))
    moodle.control(rendezvous=meeting)

    def work(handler: Handler, each: list[str]) -> None:
        outcomes.extend(handle(handler, *(account(number, cohort("L1INFO")) for number in each)).values())

    threads = [threading.Thread(target=work, args=pair) for pair in zip(made, theirs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(outcomes) == 3 * workers
    return outcomes


def test_workers_that_need_a_cohort_at_once_make_it_once(
    moodle: MoodleStandIn, store_url: str, operator: Operator
) -> None:
    # So much time passes between a creation's checks and its write: without the lock all would be at it.
    moodle.fault(FaultKind.DELAY, calls=6, wsfunction="core_cohort_create_cohorts", delay_s=1.0)
    with closing(Database(store_url)) as database, closing(Handlers(moodle, database)) as locked:
        outcomes = need_one_new_cohort_at_once(moodle, locked, 6)
    assert [each for each in outcomes if not isinstance(each, Done)] == []
    assert len(operator.cohorts()["L1INFO-2026"]) == 1


def test_without_the_lock_they_make_twins_which_are_noticed(
    moodle: MoodleStandIn, operator: Operator
) -> None:
    unlocked = Handlers(moodle)
    try:
        at_once = need_one_new_cohort_at_once(moodle, unlocked, 3, meeting=3)
        # The first to read back may still see its own cohort alone; whoever comes later sees them all.
        afterwards = handle(unlocked(), account("22600090", cohort("L1INFO"))).values()
    finally:
        unlocked.close()
    assert len(operator.cohorts()["L1INFO-2026"]) == 3
    assert any(noticed(each) for each in at_once)
    assert all(noticed(each) for each in afterwards)


def noticed(outcome: HandlerOutcome) -> bool:
    return isinstance(outcome, Dead) and outcome.cause == "moodle_duplicate_cohort"


def twins(moodle: MoodleStandIn, operator: Operator, idnumber: str) -> list[int]:
    """Two cohorts with one idnumber, made as on a real site: by two creations at once."""
    moodle.control(rendezvous=2)
    threads = [threading.Thread(target=operator.create_cohort, args=(idnumber,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    ids = operator.cohorts()[idnumber]
    assert len(ids) == 2
    return ids


def test_twin_cohorts_are_a_dead_letter_for_those_who_need_them_and_for_nobody_else(
    moodle: MoodleStandIn, operator: Operator, handler: Handler
) -> None:
    ids = twins(moodle, operator, "L1INFO-2026")
    outcomes = handle(
        handler, account(ELODIE, cohort("L1INFO"), cohort("L1MATH")), account("22600002", cohort("L1MATH"))
    )
    dead = outcomes[ELODIE]
    assert isinstance(dead, Dead)
    assert dead.cause == "moodle_duplicate_cohort"
    assert "L1INFO-2026" in dead.message
    assert isinstance(outcomes["22600002"], Done)
    assert operator.cohorts_of(ELODIE) == ["L1MATH-2026"]  # all the rest is done
    operator.delete_cohort(ids[1])
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L1INFO"), cohort("L1MATH"))), Done)
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026", "L1MATH-2026"]


def test_a_cohort_deleted_by_hand_is_made_again(handler: Handler, operator: Operator) -> None:
    handle_one(handler, account(ELODIE, cohort("L1INFO"), cohort("L1MATH")))
    (former,) = operator.cohorts()["L1INFO-2026"]
    operator.delete_cohort(former)
    outcomes = handle(
        handler,
        account(ELODIE, cohort("L1INFO"), cohort("L1MATH")),
        account("22600002", cohort("L1INFO")),
    )
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    assert operator.cohorts_of(ELODIE) == ["L1INFO-2026", "L1MATH-2026"]
    assert operator.cohorts()["L1INFO-2026"] != [former]


def test_a_lost_answer_to_a_cohorts_creation_makes_no_second_one(
    moodle: MoodleStandIn, operator: Operator, handler: Handler
) -> None:
    moodle.fault(FaultKind.GATEWAY_TIMEOUT_AFTER_COMMIT, wsfunction="core_cohort_create_cohorts")
    assert isinstance(handle_one(handler, account(ELODIE, cohort("L1INFO"))), Done)
    assert len(operator.cohorts()["L1INFO-2026"]) == 1


def test_many_memberships_go_in_calls_below_the_limit(
    moodle: MoodleStandIn, handlers: Handlers, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "MEMBER_BATCH", 1000)
    handler = handlers()
    steps = [cohort(f"L1S{index}") for index in range(12)]
    outcomes = handle(handler, *(account(each, *steps) for each in numbers(50)))
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    assert writes(moodle)["core_cohort_add_cohort_members"] == 3  # 600 rows, 249 at most in a call
    outcomes = handle(handler, *(account(each, steps[0]) for each in numbers(50)))
    assert all(isinstance(outcome, Done) for outcome in outcomes.values())
    assert writes(moodle)["core_cohort_delete_cohort_members"] == 2  # 550 rows, 498 at most
    assert operator.cohorts_of(ELODIE) == ["L1S0-2026"]


def changed(operator: Operator, cohort_id: int, *, idnumber: str, name: str) -> None:
    form = {"id": cohort_id, "name": name, "idnumber": idnumber, "categorytype][type": "system"}
    rows = {f"cohorts[0][{field}]": value for field, value in form.items()}
    operator.call("core_cohort_update_cohorts", **rows, **{"cohorts[0][categorytype][value]": ""})


def test_a_cohort_whose_name_or_key_a_hand_has_changed_is_told(
    handlers: Handlers, handler: Handler, operator: Operator
) -> None:
    steps = ("L1INFO", "L2INFO", "L3INFO", "M1INFO")
    both = [account(number, *map(cohort, steps)) for number in numbers(2)]
    handle(handler, *both)
    wanted = {f"{step}-2026": {f"Étape {step}", "An earlier label"} for step in steps}
    ids = {key: id_ for key, (id_,) in operator.cohorts().items()}
    operator.create_cohort("CHORALE", "Étape L1INFO")  # the site's own, of the same name, with nobody of ours
    connector = handlers.connector()
    assert connector.renamed(wanted) == {}
    changed(operator, ids["L2INFO-2026"], idnumber="L2INFO-2026", name="Ma licence")
    changed(operator, ids["L3INFO-2026"], idnumber="ma-licence", name="Étape L3INFO")
    changed(operator, ids["M1INFO-2026"], idnumber="", name="Étape M1INFO")
    found = {
        "L2INFO-2026": ("name",),
        "L3INFO-2026": ("key", str(ids["L3INFO-2026"])),
        "M1INFO-2026": ("key", str(ids["M1INFO-2026"])),
    }
    assert connector.renamed(wanted) == found
    handle(handlers(), *both, compare=True)  # a second one of each key is made
    assert len(operator.cohorts()["L3INFO-2026"]) == 1
    assert connector.renamed(wanted) == found, "the courses are tied to the first"
    connector.disconnect()
