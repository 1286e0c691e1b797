"""Many users and members at once, under a prefix of the test's own."""

from __future__ import annotations

from typing import Any

from sandbox.moodle import MoodleStandIn
from tests.contract.replay import look_into
from tests.contract.sending import Client

_FIELDS = ("username", "firstname", "lastname", "email", "auth", "idnumber", "department")

PLENTY = 1_000_000
"""A max_input_vars that cuts nothing."""


def users(prefix: str, count: int, fields: int = 6, first: int = 0) -> list[dict[str, str]]:
    """Return user rows of so many fields each (5 to 7)."""
    rows: list[dict[str, str]] = []
    for number in range(first, first + count):
        name = f"{prefix}{number}"
        values = (name, "A", "B", f"{name}@univ.example", "cas", name.upper(), "UFR")
        rows.append(dict(zip(_FIELDS[:fields], values, strict=False)))
    return rows


def members(cohort: str, prefix: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Return member rows of four variables each."""
    return [
        {
            "cohorttype": {"type": "idnumber", "value": cohort},
            "usertype": {"type": "username", "value": f"{prefix}{number}"},
        }
        for number in range(first, first + count)
    ]


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
