"""Many users and members at once, under a prefix of the test's own."""

from __future__ import annotations

from sandbox.moodle import MoodleStandIn
from tests.contract.replay import look_into
from tests.contract.sending import Client, users

PLENTY = 1_000_000
"""A max_input_vars that cuts nothing."""


def fill(moodle: MoodleStandIn, client: Client, prefix: str, count: int) -> list[int]:
    """Create users without any limit in the way and return their ids."""
    moodle.set(max_input_vars=PLENTY)
    return [row["id"] for row in client.ask("core_user_create_users", users=users(prefix, count))]


def add_cohort(client: Client, idnumber: str) -> int:
    """Create a cohort and return its id."""
    cohort = {"categorytype": {"type": "system", "value": ""}, "name": idnumber, "idnumber": idnumber}
    answer = client.ask("core_cohort_create_cohorts", cohorts=[cohort])
    return int(answer[0]["id"])


def count_users(moodle: MoodleStandIn, prefix: str, *, suspended: bool | None = None) -> int:
    """Count the site's users of this prefix, in its database."""
    query = "SELECT count(*) FROM users WHERE username LIKE ? AND (? IS NULL OR suspended = ?)"
    return int(look_into(moodle.data_file, query, (f"{prefix}%", suspended, suspended))[0][0])


def count_members(moodle: MoodleStandIn, cohort: str) -> int:
    """Count a cohort's members, in the site's database."""
    query = "SELECT count(*) FROM cohort_members m JOIN cohorts c ON c.id = m.cohortid WHERE c.idnumber = ?"
    return int(look_into(moodle.data_file, query, (cohort,))[0][0])
