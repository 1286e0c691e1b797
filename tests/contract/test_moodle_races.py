"""Races of the recorded site, reproduced: the calls meet between their checks and their writes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sandbox.moodle import FaultKind, MoodleStandIn
from tests.contract.comparing import Ids, differences
from tests.contract.expecting import ENTRIES
from tests.contract.people import add_cohort, count_members, count_users, fill
from tests.contract.reproducing import reproduces
from tests.contract.sending import Client, members, users


def at_once(moodle: MoodleStandIn, wsfunction: str, bodies: list[dict[str, Any]]) -> list[Any]:
    """Send the calls at the same time, each on a connection of its own, and return the answers."""

    def send(body: dict[str, Any]) -> Any:
        connection = Client(moodle.endpoint, moodle.token)
        try:
            return connection.call(wsfunction, body).value
        finally:
            connection.close()

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(send, bodies))


def failed(answers: list[Any]) -> list[dict[str, Any]]:
    return [answer for answer in answers if isinstance(answer, dict) and "exception" in answer]


@reproduces("[limit] race: 8 concurrent creates of the same username")
def test_of_eight_racing_creations_of_a_username_one_wins(moodle: MoodleStandIn) -> None:
    recorded = ENTRIES["[limit] race: 8 concurrent creates of the same username"].fields
    moodle.control(rendezvous=8)
    answers = at_once(moodle, "core_user_create_users", [{"users": users("race", 1)}] * 8)
    losers = failed(answers)
    assert losers == [json.loads(recorded["responses"][0])] * 7
    assert f"rows in DB: {count_users(moodle, 'race')}" == recorded["sql_result"]


@reproduces("[limit] race: 8 concurrent adds of the same member")
def test_of_eight_racing_additions_of_a_member_one_wins(moodle: MoodleStandIn, client: Client) -> None:
    recorded = ENTRIES["[limit] race: 8 concurrent adds of the same member"].fields
    fill(moodle, client, "runner", 1)
    add_cohort(client, "raced")
    moodle.control(rendezvous=8)
    body = {"members": members("raced", "runner", 1)}
    answers = at_once(moodle, "core_cohort_add_cohort_members", [body] * 8)
    assert failed(answers) == [json.loads(recorded["responses"][0])] * 7
    assert f"members in DB: {count_members(moodle, 'raced')}" == recorded["sql_result"]


@reproduces("[limit] race: 8 concurrent creates of the same cohort idnumber")
def test_racing_creations_of_a_cohort_make_several_of_it(moodle: MoodleStandIn) -> None:
    recorded = ENTRIES["[limit] race: 8 concurrent creates of the same cohort idnumber"].fields
    body = {
        "cohorts": [{"categorytype": {"type": "system", "value": ""}, "name": "Race", "idnumber": "krace"}]
    }
    doubled = int(recorded["sql_result"])
    moodle.control(rendezvous=doubled)
    early = at_once(moodle, "core_cohort_create_cohorts", [body] * doubled)
    late = at_once(moodle, "core_cohort_create_cohorts", [body] * (8 - doubled))
    shape = json.loads(recorded["responses"][0])
    for answer in early:
        assert differences(shape, answer, Ids(), kind="cohort") == []
    assert len(failed(late)) == len(late)
    assert len({answer[0]["id"] for answer in early}) == doubled


@reproduces("[limit2] race: two overlapping batches of 50 (d49 in both)")
def test_of_two_overlapping_batches_one_is_lost_as_a_whole(moodle: MoodleStandIn) -> None:
    recorded = ENTRIES["[limit2] race: two overlapping batches of 50 (d49 in both)"].fields
    bodies = [{"users": users("overlap", 50)}, {"users": users("overlap", 50, first=49)}]
    answers = at_once(moodle, "core_user_create_users", bodies)
    # Which of the two errors it is depends on whether the loser checks before or after the winner's commit.
    assert [error["errorcode"] in ("invalidparameter", "dmlwriteexception") for error in failed(answers)] == [
        True
    ]
    assert f"rows in DB: {count_users(moodle, 'overlap')}" == recorded["sql_result"]


@reproduces(
    "[limit2] 8 concurrent disjoint batches of 100",
    "[limit2] 8 concurrent disjoint add-members of 100 to one cohort",
)
def test_a_deadlock_loses_one_of_eight_disjoint_batches(moodle: MoodleStandIn, client: Client) -> None:
    creation = ENTRIES["[limit2] 8 concurrent disjoint batches of 100"].fields
    addition = ENTRIES["[limit2] 8 concurrent disjoint add-members of 100 to one cohort"].fields
    moodle.fault(FaultKind.DEADLOCK)
    batches = [{"users": users("batch", 100, first=100 * number)} for number in range(8)]
    answers = at_once(moodle, "core_user_create_users", batches)
    assert failed(answers) == [json.loads(error) for error in creation["errors"]]
    assert f"rows in DB: {count_users(moodle, 'batch')}" == creation["sql_result"]

    add_cohort(client, "joined")
    rows = [{"members": members("joined", "batch", 100, first=100 * number)} for number in range(8)]
    answers = at_once(moodle, "core_cohort_add_cohort_members", rows)
    assert failed(answers) == addition["errors"]
    assert f"members in DB: {count_members(moodle, 'joined')}" == addition["sql_result"]
