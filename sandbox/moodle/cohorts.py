"""Cohorts: create, update, delete, search and get. There is no unique index on the idnumber.

Creation checks, then writes: two calls at the same moment make two cohorts with one idnumber, as on a real
site.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandbox.moodle.call import Call, Function
from sandbox.moodle.collation import equality_key, fold
from sandbox.moodle.errors import coding_error, invalid_parameter, missing_record, write_error
from sandbox.moodle.params import ABSENT, Multiple, Single, Value
from sandbox.moodle.storage import COHORT_TEXT_COLUMNS

SYSTEM_CONTEXT_ID: Final = 1
CATEGORY_CONTEXTS: Final[Mapping[int, int]] = {1: 3}
"""Course category id to context id: a new site has one category, without an idnumber."""

_CATEGORY: Final = Single({"type": Value("text"), "value": Value("raw")})
_CUSTOM_FIELDS: Final = Multiple(
    Single({"shortname": Value("alphanumext"), "value": Value("raw")}), default=ABSENT
)
_COHORT_ROW: Final = Single(
    {
        "categorytype": _CATEGORY,
        "name": Value("raw"),
        "idnumber": Value("raw"),
        "description": Value("raw", ABSENT),
        "descriptionformat": Value("int", 1),
        "visible": Value("bool", ABSENT),
        "theme": Value("theme", ABSENT),
        "customfields": _CUSTOM_FIELDS,
    }
)
_ID_LIST: Final = Multiple(Value("int"))


def _context_of(category: Mapping[str, str]) -> int:
    kind, value = category["type"], category["value"]
    if kind not in ("idnumber", "id", "system"):
        raise invalid_parameter(f"category type must be id, idnumber or system:{kind}")
    if kind == "system":
        return SYSTEM_CONTEXT_ID
    known = CATEGORY_CONTEXTS.get(int(value)) if kind == "id" and value.isdecimal() else None
    if known is None:
        raise invalid_parameter(f"category not exists: category {kind} = {value}")
    return known


def create_cohorts(call: Call, params: dict[str, Any]) -> object:
    """Create all the cohorts or none. An idnumber that exists, or comes twice in the call, is refused."""
    rows: list[dict[str, Any]] = params["cohorts"]
    contexts: list[int] = []
    taken: set[str] = set()
    with call.storage.read(call.db):
        for row in rows:
            contexts.append(_context_of(row["categorytype"]))
            key = equality_key(row["idnumber"])
            query = "SELECT 1 FROM cohorts WHERE idnumber_key = ? LIMIT 1"
            if key in taken or call.db.execute(query, (key,)).fetchone() is not None:
                raise invalid_parameter(f"record already exists: idnumber={row['idnumber']}")
            taken.add(key)
            call.require("moodle/cohort:manage")
            _check_lengths(row)
    call.work(len(rows), writing=True)
    with call.storage.write(call.db):
        ids = [_insert(call.db, row, context) for row, context in zip(rows, contexts, strict=True)]
    return [
        {
            "id": cohort_id,
            "name": row["name"],
            "idnumber": row["idnumber"],
            "description": row.get("description", ""),
            "descriptionformat": row["descriptionformat"],
            "visible": row.get("visible", True),
            "theme": row.get("theme", ""),
        }
        for cohort_id, row in zip(ids, rows, strict=True)
    ]


def _check_lengths(row: Mapping[str, Any]) -> None:
    for column, limit in COHORT_TEXT_COLUMNS.items():
        if len(row.get(column, "")) > limit:
            raise write_error(f"Data too long for column '{column}' at row 1")


def _insert(db: sqlite3.Connection, row: Mapping[str, Any], context_id: int) -> int:
    row_id = db.execute(
        "INSERT INTO cohorts (contextid, name, idnumber, idnumber_key, description, descriptionformat,"
        " visible, theme, timecreated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            context_id,
            row["name"],
            row["idnumber"],
            equality_key(row["idnumber"]),
            row.get("description", ""),
            row["descriptionformat"],
            row.get("visible", True),
            row.get("theme", ""),
            int(time.time()),
        ),
    ).lastrowid
    return int(row_id or 0)


def update_cohorts(call: Call, params: dict[str, Any]) -> object:
    """Rewrite cohorts, all or none; the idnumber is not checked against the others."""
    rows: list[dict[str, Any]] = params["cohorts"]
    call.work(len(rows), writing=True)
    with call.storage.write(call.db):
        for row in rows:
            if not row["name"].strip():
                raise invalid_parameter("Invalid cohort name")
            old = find_cohort(call.db, row["id"])
            call.require("moodle/cohort:manage")
            _check_lengths(row)
            call.db.execute(
                "UPDATE cohorts SET contextid = ?, name = ?, idnumber = ?, idnumber_key = ?, description = ?,"
                " visible = ?, theme = ? WHERE id = ?",
                (
                    _context_of(row["categorytype"]),
                    row["name"],
                    row["idnumber"],
                    equality_key(row["idnumber"]),
                    row.get("description", old["description"]),
                    row.get("visible", bool(old["visible"])),
                    row.get("theme", old["theme"]),
                    row["id"],
                ),
            )
    return None


def delete_cohorts(call: Call, params: dict[str, Any]) -> object:
    """Delete cohorts with their memberships, all or none."""
    ids: list[int] = params["cohortids"]
    call.work(len(ids), writing=True)
    with call.storage.write(call.db):
        for cohort_id in ids:
            find_cohort(call.db, cohort_id)
            call.require("moodle/cohort:manage")
            call.db.execute("DELETE FROM cohort_members WHERE cohortid = ?", (cohort_id,))
            call.db.execute("DELETE FROM cohorts WHERE id = ?", (cohort_id,))
    return None


def find_cohort(db: sqlite3.Connection, cohort_id: int) -> sqlite3.Row:
    """Return a cohort by id; raises MoodleError `invalidrecord`."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM cohorts WHERE id = ?", (cohort_id,)).fetchone()
    if row is None:
        raise missing_record("cohort", "id", cohort_id)
    return row


def get_cohorts(call: Call, params: dict[str, Any]) -> object:
    """Return the cohorts of these ids, or all of them; an unknown id is left out."""
    ids: list[int] = params["cohortids"]
    call.work(len(ids), writing=False)
    rows = call.db.execute("SELECT * FROM cohorts ORDER BY id").fetchall()
    wanted = [row for row in rows if not ids or row["id"] in ids]
    if wanted:
        call.require("moodle/cohort:view", "moodle/cohort:manage")
    return [_shown(row) for row in wanted]


def search_cohorts(call: Call, params: dict[str, Any]) -> object:
    """Return cohorts with the query in name, idnumber or description, by name. Default: 25."""
    context_id = _searched_context(params["context"])
    call.require("moodle/cohort:view", "moodle/cohort:manage")
    includes = params["includes"]
    if includes not in ("self", "parents", "all"):
        raise coding_error("Invalid parameter value for 'includes'.")
    call.work(1, writing=False)
    rows: Iterable[sqlite3.Row] = call.db.execute("SELECT * FROM cohorts").fetchall()
    visible_in = {context_id} if includes == "self" else {context_id, SYSTEM_CONTEXT_ID}
    needle = fold(params["query"])
    found = [
        row
        for row in rows
        if (includes == "all" or row["contextid"] in visible_in)
        and any(needle in fold(row[column]) for column in ("name", "idnumber", "description"))
    ]
    found.sort(key=lambda row: (equality_key(row["name"]), equality_key(row["idnumber"]), row["id"]))
    start, count = params["limitfrom"], params["limitnum"]
    return {"cohorts": [_shown(row) for row in found[start : start + count if count else None]]}


def _searched_context(context: Mapping[str, Any]) -> int:
    if context.get("contextid"):
        context_id: int = context["contextid"]
    elif context.get("contextlevel") and "instanceid" in context:
        level, instance = context["contextlevel"], context["instanceid"]
        if level == "system":
            return SYSTEM_CONTEXT_ID
        if level != "coursecat" or instance not in CATEGORY_CONTEXTS:
            raise missing_record("context", "instanceid", instance)
        context_id = CATEGORY_CONTEXTS[instance]
    else:
        raise invalid_parameter(
            "Missing parameters, please provide either context level with instance id or contextid"
        )
    if context_id != SYSTEM_CONTEXT_ID and context_id not in CATEGORY_CONTEXTS.values():
        raise missing_record("context", "id", context_id)
    return context_id


def _shown(row: sqlite3.Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "name": row["name"],
        "idnumber": row["idnumber"],
        "description": row["description"],
        "descriptionformat": row["descriptionformat"],
        "visible": bool(row["visible"]),
        "theme": row["theme"],
        "customfields": [],
    }


_CONTEXT: Final = Single(
    {
        "contextid": Value("int", ABSENT),
        "contextlevel": Value("alpha", ABSENT),
        "instanceid": Value("int", ABSENT),
    }
)

FUNCTIONS: Final = {
    "core_cohort_create_cohorts": Function(Single({"cohorts": Multiple(_COHORT_ROW)}), create_cohorts),
    "core_cohort_update_cohorts": Function(
        Single({"cohorts": Multiple(Single({"id": Value("int"), **_COHORT_ROW.keys}))}), update_cohorts
    ),
    "core_cohort_delete_cohorts": Function(Single({"cohortids": _ID_LIST}), delete_cohorts),
    "core_cohort_get_cohorts": Function(
        Single({"cohortids": Multiple(Value("int"), default=())}), get_cohorts
    ),
    "core_cohort_search_cohorts": Function(
        Single(
            {
                "query": Value("raw"),
                "context": _CONTEXT,
                "includes": Value("alpha", "parents"),
                "limitfrom": Value("int", 0),
                "limitnum": Value("int", 25),
            }
        ),
        search_cohorts,
    ),
}
