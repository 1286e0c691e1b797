"""Cohort members: add (bad rows become warnings), delete (ids only), get."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from sandbox.moodle.call import Call, Function
from sandbox.moodle.cohorts import find_cohort
from sandbox.moodle.collation import equality_key
from sandbox.moodle.errors import missing_record
from sandbox.moodle.params import Multiple, Single, Value

_BY: Final = Single({"type": Value("alphanumext"), "value": Value("raw")})

_COHORT_QUERIES: Final = {
    "id": "SELECT id FROM cohorts WHERE id = ?",
    "idnumber": "SELECT id FROM cohorts WHERE idnumber_key = ? ORDER BY id LIMIT 1",
}
_USER_QUERIES: Final = {
    "id": "SELECT id FROM users WHERE id = ? AND deleted = 0",
    "username": "SELECT id FROM users WHERE username_key = ? AND deleted = 0",
}


def add_cohort_members(call: Call, params: dict[str, Any]) -> object:
    """Add the good rows and warn about the others. A lost race on one row loses the whole call."""
    rows: list[dict[str, dict[str, str]]] = params["members"]
    warnings: list[dict[str, str]] = []
    added: dict[tuple[int, int], None] = {}
    cohorts: dict[tuple[str, str], int | None] = {}
    with call.storage.read(call.db):
        for row in rows:
            outcome = _check(call, row, added, cohorts)
            if isinstance(outcome, dict):
                warnings.append(outcome)
            else:
                call.require("moodle/cohort:assign", "moodle/cohort:manage")
                added[outcome] = None
    call.work(len(rows), writing=True)
    with call.storage.write(call.db):
        now = int(time.time())
        call.db.executemany(
            "INSERT INTO cohort_members VALUES (?, ?, ?)", [(cohort, user, now) for cohort, user in added]
        )
    return {"warnings": warnings}


def _check(
    call: Call,
    row: Mapping[str, Mapping[str, str]],
    added: Mapping[tuple[int, int], None],
    cohorts: dict[tuple[str, str], int | None],
) -> tuple[int, int] | dict[str, str]:
    """Return the pair to add, or the row's warning."""
    cohort_type, cohort_value = row["cohorttype"]["type"], row["cohorttype"]["value"]
    user_type, user_value = row["usertype"]["type"], row["usertype"]["value"]
    if cohort_type not in _COHORT_QUERIES:
        return _warning(1, f"invalid parameter: cohortype={cohort_type}")  # Moodle's own spelling
    if user_type not in _USER_QUERIES:
        return _warning(1, f"invalid parameter: usertype={user_type}")
    if (cohort_type, cohort_value) not in cohorts:
        found = _find(call.db, _COHORT_QUERIES[cohort_type], cohort_type, cohort_value)
        cohorts[cohort_type, cohort_value] = found
    cohort_id = cohorts[cohort_type, cohort_value]
    if cohort_id is None:
        return _warning(2, f"cohort {cohort_type}={cohort_value} not exists")
    user_id = _find(call.db, _USER_QUERIES[user_type], user_type, user_value)
    if user_id is None:
        return _warning(2, f"user {user_type}={user_value} not exists")
    query = "SELECT 1 FROM cohort_members WHERE cohortid = ? AND userid = ?"
    pair = (cohort_id, user_id)
    if pair in added or call.db.execute(query, pair).fetchone() is not None:
        held = f"cohort({cohort_type}={cohort_value} {user_type}={user_value})"
        return _warning(3, f"record already exists: {held}")
    return pair


def _find(db: sqlite3.Connection, query: str, by: str, value: str) -> int | None:
    row = db.execute(query, (value if by == "id" else equality_key(value),)).fetchone()
    return None if row is None else int(row["id"])


def _warning(code: int, message: str) -> dict[str, str]:
    return {"warningcode": str(code), "message": message}


def delete_cohort_members(call: Call, params: dict[str, Any]) -> object:
    """Remove members, all or none; non-members are ignored."""
    rows: list[dict[str, int]] = params["members"]
    call.work(len(rows), writing=True)
    with call.storage.write(call.db):
        for row in rows:
            find_cohort(call.db, row["cohortid"])
            if _find(call.db, _USER_QUERIES["id"], "id", str(row["userid"])) is None:
                raise missing_record("user", "id", row["userid"])
            call.require("moodle/cohort:assign", "moodle/cohort:manage")
            call.db.execute(
                "DELETE FROM cohort_members WHERE cohortid = ? AND userid = ?",
                (row["cohortid"], row["userid"]),
            )
    return None


def get_cohort_members(call: Call, params: dict[str, Any]) -> object:
    """The user ids of each cohort, by last name and first name. An unknown cohort fails the call."""
    answer: list[dict[str, object]] = []
    call.work(len(params["cohortids"]), writing=False)
    with call.storage.read(call.db):
        for cohort_id in params["cohortids"]:
            find_cohort(call.db, cohort_id)
            call.require("moodle/cohort:view", "moodle/cohort:manage")
            rows = call.db.execute(
                "SELECT u.id FROM users u JOIN cohort_members m ON m.userid = u.id WHERE m.cohortid = ?"
                " ORDER BY u.lastname, u.firstname",
                (cohort_id,),
            )
            answer.append({"cohortid": cohort_id, "userids": [row["id"] for row in rows]})
    return answer


FUNCTIONS: Final = {
    "core_cohort_add_cohort_members": Function(
        Single({"members": Multiple(Single({"cohorttype": _BY, "usertype": _BY}))}), add_cohort_members
    ),
    "core_cohort_delete_cohort_members": Function(
        Single({"members": Multiple(Single({"cohortid": Value("int"), "userid": Value("int")}))}),
        delete_cohort_members,
    ),
    "core_cohort_get_cohort_members": Function(
        Single({"cohortids": Multiple(Value("int"))}), get_cohort_members
    ),
}
