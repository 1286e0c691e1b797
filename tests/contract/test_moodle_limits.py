"""Limits and time-outs of the recorded site, reproduced: what is cut, lost or done without a word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from sandbox.moodle import FaultKind, MoodleStandIn
from sandbox.process import wait_until
from tests.contract.expecting import assert_as_recorded, noted_count
from tests.contract.people import PLENTY, add_cohort, count_members, count_users, fill
from tests.contract.reproducing import reproduces
from tests.contract.sending import Client, Sending, members, users


@dataclass(frozen=True)
class Creation:
    """A creation of so many users of so many fields, under some limits."""

    prefix: str
    name: str
    users: int
    fields: int
    conditions: dict[str, Any] = field(default_factory=lambda: {"max_input_vars": 1000})
    sending: Sending = field(default_factory=Sending)


_IN_QUERY = Sending(place="query")
_FIVE_THOUSAND = {"max_input_vars": 5000}
_SMALL_POST = {"max_input_vars": PLENTY, "post_max_size_bytes": 100 * 1024}
_NO_LIMIT = {"max_input_vars": PLENTY}

_CREATIONS = [
    Creation("qa", "[limit] max_input_vars=1000: 166 users x 6 fields, 999 vars in body with token", 166, 6),
    Creation(
        "qb",
        "[limit] max_input_vars=1000: 167 users x 6, 1005 vars in body (cut in the middle of user 167)",
        167,
        6,
    ),
    Creation("qc", "[limit] max_input_vars=1000: 200 users x 5 fields (cut at 199.4 users)", 200, 5),
    Creation(
        "qd",
        "[limit] max_input_vars=1000: 300 users x 5 fields, token etc. in the query string"
        " (cut exactly at user 200)",
        300,
        5,
        sending=_IN_QUERY,
    ),
    Creation(
        "qe",
        "[limit] max_input_vars=1000: 300 users x 5, token LAST in the body",
        300,
        5,
        sending=Sending(place="last"),
    ),
    Creation(
        "qf", "[limit] max_input_vars=5000 (Moodle's required minimum): 832 users x 6", 832, 6, _FIVE_THOUSAND
    ),
    Creation("qg", "[limit] max_input_vars=5000: 833 users x 6 = 5001 vars", 833, 6, _FIVE_THOUSAND),
    Creation(
        "qh",
        "[limit] max_input_vars=5000: 1200 users x 5 in query-token form (cut exactly at 1000)",
        1200,
        5,
        _FIVE_THOUSAND,
        _IN_QUERY,
    ),
    Creation("qi", "[limit] post_max_size=100K, body larger, token in body", 1500, 6, _SMALL_POST),
    Creation(
        "qj", "[limit] post_max_size=100K, body larger, token in query", 1500, 6, _SMALL_POST, _IN_QUERY
    ),
    Creation("qk", "[limit] memory_limit=32M (PHP fatal error): 3000 users", 3000, 6, _NO_LIMIT),
    Creation(
        "ql", "[limit] max_execution_time=1: 1500 users (Moodle raises the limit itself)", 1500, 6, _NO_LIMIT
    ),
    Creation(
        "qm",
        "[limit2] max_input_vars=5000: 1000 users x 6 fields, token+function+format first in body:"
        " SILENT TRUNCATION",
        1000,
        6,
        _FIVE_THOUSAND,
    ),
    Creation("qn", "[limit2] max_input_vars=5000: 1000 users x 7 fields", 1000, 7, _FIVE_THOUSAND),
    Creation("qo", "[limit2] max_input_vars=5000: 1200 users x 5 fields", 1200, 5, _FIVE_THOUSAND),
]


@reproduces(*(case.name for case in _CREATIONS))
@pytest.mark.parametrize("case", _CREATIONS, ids=lambda case: case.name)
def test_a_creation_too_long_for_the_limits_is_cut_or_refused_as_recorded(
    moodle: MoodleStandIn, client: Client, case: Creation
) -> None:
    moodle.set(**case.conditions)
    rows = users(case.prefix, case.users, case.fields)
    answer = client.call("core_user_create_users", {"users": rows}, case.sending)
    assert_as_recorded(case.name, answer, case.prefix)
    assert count_users(moodle, case.prefix) == noted_count(case.name)


_ADDITIONS = {
    "[limit] max_input_vars=1000: 300 members x 4 vars, token in query string"
    " (cut exactly at 250)": _IN_QUERY,
    "[limit] max_input_vars=1000: 300 members x 4 vars, token first in body"
    " (997 left: cut inside 250th)": Sending(),
    "[limit] max_input_vars=1000: 300 members as multipart/form-data": Sending(
        place="query", body="multipart"
    ),
    "[limit2] max_input_vars=1000: add 300 members, usertype/cohorttype (4 vars),"
    " token first in body": Sending(),
}


@reproduces(*_ADDITIONS)
@pytest.mark.parametrize("name", _ADDITIONS)
def test_members_beyond_the_limit_are_cut_or_refused_as_recorded(
    moodle: MoodleStandIn, client: Client, name: str
) -> None:
    number = list(_ADDITIONS).index(name)
    prefix, cohort = f"member{number}-", f"cut-{number}"
    fill(moodle, client, prefix, 300)
    add_cohort(client, cohort)
    moodle.set(max_input_vars=1000)
    rows = members(cohort, prefix, 300)
    answer = client.call("core_cohort_add_cohort_members", {"members": rows}, _ADDITIONS[name])
    assert_as_recorded(name, answer, kind="cohort")
    assert count_members(moodle, cohort) == noted_count(name)


@reproduces("[limit] max_input_vars=1000: get_users_by_field 1500 values, query string token")
def test_a_lookup_of_too_many_values_finds_the_first_thousand_only(
    moodle: MoodleStandIn, client: Client
) -> None:
    name = "[limit] max_input_vars=1000: get_users_by_field 1500 values, query string token"
    moodle.set(max_input_vars=PLENTY, site_url="https://moodle.example")
    client.ask("core_user_create_users", users=users("looked", 300) + users("looked", 100, first=1400))
    moodle.set(max_input_vars=1000)
    values = [f"looked{number}" for number in range(1500)]
    answer = client.call("core_user_get_users_by_field", {"field": "username", "values": values}, _IN_QUERY)
    assert_as_recorded(name, answer, "looked")


@reproduces(
    "[limit2] max_input_vars=1000: update_users suspended=1 for 1000 users (2 vars each): SILENT TRUNCATION"
)
def test_an_update_beyond_the_limit_answers_well_and_does_half(moodle: MoodleStandIn, client: Client) -> None:
    name = test_an_update_beyond_the_limit_answers_well_and_does_half.__dict__["reproduces"][0]
    ids = fill(moodle, client, "suspend", 1000)
    moodle.set(max_input_vars=1000)
    rows = [{"id": user_id, "suspended": 1} for user_id in ids]
    assert_as_recorded(name, client.call("core_user_update_users", {"users": rows}))
    assert count_users(moodle, "suspend", suspended=True) == noted_count(name)


@reproduces("[limit2] max_input_vars=1000: delete_cohort_members of 1000 (2 vars each): SILENT TRUNCATION")
def test_a_removal_beyond_the_limit_answers_null_and_does_half(moodle: MoodleStandIn, client: Client) -> None:
    name = test_a_removal_beyond_the_limit_answers_null_and_does_half.__dict__["reproduces"][0]
    ids = fill(moodle, client, "leaver", 1000)
    cohort_id = add_cohort(client, "left")
    client.ask("core_cohort_add_cohort_members", members=members("left", "leaver", 1000))
    moodle.set(max_input_vars=1000)
    rows = [{"cohortid": cohort_id, "userid": user_id} for user_id in ids]
    answer = client.call("core_cohort_delete_cohort_members", {"members": rows})
    assert_as_recorded(name, answer, kind="cohort")
    assert count_members(moodle, "left") == noted_count(name)


@reproduces(
    "[limit2] php_admin_value memory_limit=24M, display_errors=0 (PHP fatal): 5000 users",
    "[limit2] the same with display_errors=1",
)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (
            "[limit2] php_admin_value memory_limit=24M, display_errors=0 (PHP fatal): 5000 users",
            FaultKind.SERVER_ERROR,
        ),
        ("[limit2] the same with display_errors=1", FaultKind.EMPTY_BODY),
    ],
)
def test_php_out_of_memory_answers_nothing_and_keeps_nothing(
    moodle: MoodleStandIn, client: Client, name: str, kind: FaultKind
) -> None:
    moodle.fault(kind)
    answer = client.call("core_user_create_users", {"users": users("memory", 20)})
    assert_as_recorded(name, answer)
    assert count_users(moodle, "memory") == noted_count(name)


@reproduces("[limit] proxy timeout 1 s (nginx 504): 1500 users", "[limit] db 12 s after that 504")
def test_after_a_gateway_timeout_the_work_is_still_done(moodle: MoodleStandIn, client: Client) -> None:
    name, later = "[limit] proxy timeout 1 s (nginx 504): 1500 users", "[limit] db 12 s after that 504"
    moodle.set(max_input_vars=PLENTY, proxy_timeout_s=0.5)
    moodle.control(rendezvous=2)  # the call cannot end before a second one writes
    answer = client.call("core_user_create_users", {"users": users("slow", 1500)})
    assert_as_recorded(name, answer)
    assert count_users(moodle, "slow") == noted_count(name)
    client.ask("core_user_create_users", users=users("release-a", 1))
    done = noted_count(later, "sql_result")
    wait_until(lambda: count_users(moodle, "slow") == done, "the abandoned call to commit")


@reproduces("[limit] client hangs up after 1 s: 1000 users", "[limit] db 8 s after the client hung up")
def test_after_a_client_hangs_up_the_work_is_still_done(moodle: MoodleStandIn, client: Client) -> None:
    name, later = ("[limit] client hangs up after 1 s: 1000 users", "[limit] db 8 s after the client hung up")
    moodle.set(max_input_vars=PLENTY)
    moodle.control(rendezvous=2)
    impatient = Client(moodle.endpoint, moodle.token, timeout_s=0.5)
    with pytest.raises(httpx.ReadTimeout):
        impatient.call("core_user_create_users", {"users": users("hasty", 1000)})
    impatient.close()
    assert count_users(moodle, "hasty") == noted_count(name)
    client.ask("core_user_create_users", users=users("release-b", 1))
    done = noted_count(later, "sql_result")
    wait_until(lambda: count_users(moodle, "hasty") == done, "the abandoned call to commit")


@reproduces(
    "[limit] fpm request_terminate_timeout=1s (worker killed): 1500 users", "[limit] db 3 s after the kill"
)
def test_a_killed_worker_keeps_nothing(moodle: MoodleStandIn, client: Client) -> None:
    name, later = (
        "[limit] fpm request_terminate_timeout=1s (worker killed): 1500 users",
        "[limit] db 3 s after the kill",
    )
    moodle.set(max_input_vars=PLENTY, terminate_timeout_s=0.05, latency_per_row_s=0.01)
    answer = client.call("core_user_create_users", {"users": users("killed", 1500)})
    assert_as_recorded(name, answer)
    assert count_users(moodle, "killed") == noted_count(name)
    client.ask("core_user_create_users", users=users("release-c", 1))
    assert count_users(moodle, "killed") == noted_count(later, "sql_result")
