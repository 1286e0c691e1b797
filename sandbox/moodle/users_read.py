"""`core_user_get_users_by_field` and `core_user_get_users`, by rights.

A row is given only if the searched field is among the fields that the caller may see of it: without
`moodle/user:viewdetails` and `moodle/user:viewalldetails` the answer is empty, not an error. The caller
always sees its own row.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

from sandbox.moodle.call import Call, Function
from sandbox.moodle.collation import equality_key, like
from sandbox.moodle.errors import coding_error, invalid_parameter, untranslated
from sandbox.moodle.params import Multiple, Single, Value, is_clean

_FIELD_TYPES: Final = {"id": "int", "idnumber": "raw", "username": "username", "email": "raw_trimmed"}
_EXACT_KEYS: Final = ("id", "idnumber", "username", "auth")
_LIKE_KEYS: Final = ("email", "lastname", "firstname")
_LOOKUP_SIZE: Final = 500  # values per SELECT

_INT_LIKE = re.compile(r"\s*[+-]?[0-9]+\s*")


def get_users_by_field(call: Call, params: dict[str, Any]) -> object:
    """The users whose field equals one of the values, by id. One malformed value fails the call."""
    column: str = params["field"]
    values: list[str] = params["values"]
    kind = _FIELD_TYPES.get(column)
    if kind is None:
        details = f"The search field '{column}' is not supported, look at the web service documentation"
        raise coding_error("invalid field parameter", details)
    for value in values:
        if not (_INT_LIKE.fullmatch(value) if kind == "int" else is_clean(kind, value)):
            raise invalid_parameter(f"The field '{column}' value is invalid: {value}")
    call.work(len(values), writing=False)
    with call.storage.read(call.db):
        rows = list(_rows_with(call.db, column, values))
    return [details for details in _visible(call, rows) if details.get(column)]


def _rows_with(db: sqlite3.Connection, column: str, values: list[str]) -> Iterable[sqlite3.Row]:
    keys: list[Any] = (
        [int(value) for value in values] if column == "id" else [equality_key(v) for v in values]
    )
    wanted = list(dict.fromkeys(keys))
    searched = "id" if column == "id" else f"{column}_key"
    found: list[sqlite3.Row] = []
    for start in range(0, len(wanted), _LOOKUP_SIZE):
        some = wanted[start : start + _LOOKUP_SIZE]
        marks = ", ".join("?" * len(some))
        query = f"SELECT * FROM users WHERE deleted = 0 AND {searched} IN ({marks})"  # noqa: S608  (ours)
        found += db.execute(query, some)
    return sorted(found, key=lambda row: int(row["id"]))


def get_users(call: Call, params: dict[str, Any]) -> object:
    """The users that meet all criteria. An unknown key is a warning, and does not narrow the search."""
    conditions: list[Callable[[sqlite3.Row], bool]] = []
    warnings: list[dict[str, str]] = []
    seen: set[str] = set()
    used: list[str] = []
    for criterion in params["criteria"]:
        key, value = criterion["key"], criterion["value"]
        if key in seen:
            raise untranslated("keyalreadyset")
        seen.add(key)
        if key in _EXACT_KEYS:
            conditions.append(_equals(key, value))
        elif key in _LIKE_KEYS:
            conditions.append(_is_like(key, value))
        else:
            text = f"The search key '{key}' is not supported, look at the web service documentation"
            warnings.append({"item": key, "warningcode": "invalidfieldparameter", "message": text})
            continue
        used.append(key)
    call.work(1, writing=False)
    with call.storage.read(call.db):
        everybody = call.db.execute("SELECT * FROM users WHERE deleted = 0 ORDER BY id")
        rows = [row for row in everybody if all(condition(row) for condition in conditions)]
    users = [details for details in _visible(call, rows) if all(details.get(key) for key in used)]
    return {"users": users, "warnings": warnings}


def _equals(column: str, value: str) -> Callable[[sqlite3.Row], bool]:
    if column == "id":
        number = int(value) if _INT_LIKE.fullmatch(value) else 0
        return lambda row: bool(row["id"] == number)
    key = equality_key(value)
    return lambda row: bool(row[f"{column}_key"] == key)


def _is_like(column: str, pattern: str) -> Callable[[sqlite3.Row], bool]:
    matches = like(pattern)
    return lambda row: matches(row[column])


def _visible(call: Call, rows: Iterable[sqlite3.Row]) -> Iterable[dict[str, Any]]:
    may_view = call.has("moodle/user:viewdetails")
    for row in rows:
        if may_view or row["id"] == call.caller["id"]:
            yield _details(call, row)


def _details(call: Call, row: sqlite3.Row) -> dict[str, Any]:
    """The fields of one user that the caller may see, in the documented order."""
    own = row["id"] == call.caller["id"]
    all_details = own or call.has("moodle/user:viewalldetails")
    details: dict[str, Any] = {"id": row["id"]}
    if all_details:
        details["username"] = row["username"]
    if call.has("moodle/site:viewfullnames"):
        details |= {"firstname": row["firstname"], "lastname": row["lastname"]}
    details["fullname"] = f"{row['firstname']} {row['lastname']}"
    if own or call.has("moodle/site:viewuseridentity"):
        details["email"] = row["email"]
    if call.has("moodle/user:viewhiddendetails"):
        details |= _filled(row, "address", "phone1", "phone2")
    if all_details:
        details |= {"department": row["department"], **_filled(row, "institution", "idnumber")}
    details |= {"firstaccess": row["firstaccess"], "lastaccess": row["lastaccess"]}
    if all_details:
        details["auth"] = row["auth"]
    details["suspended"] = bool(row["suspended"])
    if all_details:
        details |= {"confirmed": bool(row["confirmed"]), "lang": row["lang"], "theme": row["theme"]}
        details |= {"timezone": row["timezone"], "mailformat": row["mailformat"]}
        details["trackforums"] = row["trackforums"]
    if row["description"]:
        details |= {"description": row["description"], "descriptionformat": 1}
    details |= _filled(row, "city", "country")
    picture = f"{call.conditions.site_url}/theme/image.php/boost/core/{call.state.theme_revision}/u"
    details |= {"profileimageurlsmall": f"{picture}/f2", "profileimageurl": f"{picture}/f1"}
    if own:
        details["preferences"] = []
    return details


def _filled(row: sqlite3.Row, *columns: str) -> dict[str, Any]:
    return {name: row[name] for name in columns if row[name] not in ("", "0")}


FUNCTIONS: Final = {
    "core_user_get_users_by_field": Function(
        Single({"field": Value("alpha"), "values": Multiple(Value("raw"))}), get_users_by_field
    ),
    "core_user_get_users": Function(
        Single({"criteria": Multiple(Single({"key": Value("alpha"), "value": Value("raw")}))}), get_users
    ),
}
