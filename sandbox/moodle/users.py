"""`core_user_create_users`, `core_user_delete_users`: everything or nothing."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from sandbox.moodle.call import Call, Function
from sandbox.moodle.collation import equality_key
from sandbox.moodle.countries import COUNTRIES
from sandbox.moodle.errors import (
    MoodleError,
    invalid_parameter,
    missing_record,
    moodle_exception,
    write_error,
)
from sandbox.moodle.params import ABSENT, INTERNAL_AUTH_PLUGINS, Multiple, Single, Value
from sandbox.moodle.storage import ADMIN_ID, USER_TEXT_COLUMNS, insert_user, new_user, update_user

PASSWORD_NOT_CACHED: Final = "not cached"
_PASSWORD_LENGTH_MIN: Final = 8
_PASSWORD_KEPT: Final = "*"  # there are no logins here: a password's existence is all that is kept

_TYPED_PAIRS: Final = Multiple(Single({"type": Value("alphanumext"), "value": Value("raw")}), default=ABSENT)

PROFILE_FIELDS: Final[Mapping[str, Value | Multiple]] = {
    "maildisplay": Value("int", ABSENT),
    "city": Value("text", ABSENT),
    "country": Value("alpha", ABSENT),
    "timezone": Value("timezone", ABSENT),
    "description": Value("text", ABSENT),
    "firstnamephonetic": Value("notags", ABSENT),
    "lastnamephonetic": Value("notags", ABSENT),
    "middlename": Value("notags", ABSENT),
    "alternatename": Value("notags", ABSENT),
    "interests": Value("text", ABSENT),
    "idnumber": Value("raw", ABSENT),
    "institution": Value("text", ABSENT),
    "department": Value("text", ABSENT),
    "phone1": Value("notags", ABSENT),
    "phone2": Value("notags", ABSENT),
    "address": Value("text", ABSENT),
    "lang": Value("lang", ABSENT),
    "calendartype": Value("alpha", ABSENT),
    "theme": Value("theme", ABSENT),
    "mailformat": Value("int", ABSENT),
    "customfields": _TYPED_PAIRS,
    "preferences": _TYPED_PAIRS,
}
"""Fields that create and update share. Unknown custom fields are ignored: the site has none."""

_CREATE_ROW: Final = Single(
    {
        "createpassword": Value("bool", ABSENT),
        "username": Value("username"),
        "auth": Value("auth", "manual"),
        "password": Value("raw", ABSENT),
        "firstname": Value("notags"),
        "lastname": Value("notags"),
        "email": Value("raw_trimmed"),
        **PROFILE_FIELDS,
        "idnumber": Value("raw", ""),
        "lang": Value("lang", "en"),
        "calendartype": Value("alpha", "gregorian"),
    }
)

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?=[^@]{{1,64}}@)(?=.{{1,254}}\Z){_LOCAL}(?:\.{_LOCAL})*@{_LABEL}(?:\.{_LABEL})+")


def is_email(text: str) -> bool:
    """Whether PHP's FILTER_VALIDATE_EMAIL takes it: ASCII, with a dotted domain."""
    return _EMAIL.fullmatch(text) is not None


def password_fault(password: str) -> str | None:
    """The objection of Moodle's default password policy, as HTML, or None."""
    rules = (
        (len(password) >= _PASSWORD_LENGTH_MIN, "Passwords must be at least 8 characters long."),
        (any(char.isdigit() for char in password), "Passwords must have at least 1 digit(s)."),
        (any(char.islower() for char in password), "Passwords must have at least 1 lower case letter(s)."),
        (any(char.isupper() for char in password), "Passwords must have at least 1 upper case letter(s)."),
        (
            any(not char.isalnum() for char in password),
            "The password must have at least 1 special character(s) such as *, -, or #.",
        ),
    )
    return "".join(f"<div>{text}</div>" for kept, text in rules if not kept) or None


def refused_password(password: str) -> MoodleError | None:
    """The error for a password against the policy: its code is the policy's text."""
    fault = password_fault(password)
    return None if fault is None else moodle_exception(fault, f"error/{fault}")


def email_taken(db: sqlite3.Connection, email: str, *, except_id: int = 0) -> bool:
    """Whether another user has the address, in any case."""
    query = "SELECT 1 FROM users WHERE email_key = ? AND id <> ? LIMIT 1"
    return db.execute(query, (equality_key(email), except_id)).fetchone() is not None


def too_long(values: Mapping[str, Any]) -> str | None:
    """The first text column whose value does not fit, or None."""
    for name, value in values.items():
        limit = USER_TEXT_COLUMNS.get(name)
        if limit is not None and len(value) > limit:
            return name
    return None


def stored_country(code: str) -> str:
    """The country column's value: Moodle stores `0` for an unknown code."""
    return code if code in COUNTRIES else "0"


def create_users(call: Call, params: dict[str, Any]) -> object:
    """Check every row against the site and earlier rows, then create all."""
    call.require("moodle/user:create")
    rows: list[dict[str, Any]] = params["users"]
    records: list[dict[str, Any]] = []
    usernames: set[str] = set()
    emails: set[str] = set()
    with call.storage.read(call.db):
        for row in rows:
            _check_new(call, row, usernames, emails)
            records.append(_record(row))
            usernames.add(equality_key(row["username"]))
            emails.add(equality_key(row["email"]))
    call.work(len(rows), writing=True)
    with call.storage.write(call.db):
        ids = [insert_user(call.db, record) for record in records]
    return [{"id": user_id, "username": row["username"]} for user_id, row in zip(ids, rows, strict=True)]


def _check_new(call: Call, row: dict[str, Any], usernames: set[str], emails: set[str]) -> None:
    key = equality_key(row["username"])
    query = "SELECT 1 FROM users WHERE username_key = ?"
    if key in usernames or call.db.execute(query, (key,)).fetchone() is not None:
        raise invalid_parameter(f"Username already exists: {row['username']}")
    if row["auth"] in ("mnet", "webservice"):
        raise invalid_parameter(f"Invalid authentication type: {row['auth']}")
    if not is_email(row["email"]):
        raise invalid_parameter(f"Email address is invalid: {row['email']}")
    if not call.conditions.allow_accounts_same_email and (
        equality_key(row["email"]) in emails or email_taken(call.db, row["email"])
    ):
        raise invalid_parameter(f"Email address already exists: {row['email']}")
    for name in ("firstname", "lastname"):
        if not row[name].strip():
            raise invalid_parameter(f"The field {name} cannot be blank")
    _check_password(row)
    column = too_long(row)
    if column is not None:
        raise write_error(f"Data too long for column '{column}' at row 1\n{_insert_statement(row)}")


def _check_password(row: Mapping[str, Any]) -> None:
    if row["auth"] not in INTERNAL_AUTH_PLUGINS or row.get("createpassword"):
        return
    if "password" not in row:
        raise invalid_parameter("Invalid password: you must provide a password, or set createpassword.")
    refusal = refused_password(row["password"])
    if refusal is not None:
        raise refusal


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    columns = {
        name: value
        for name, value in row.items()
        if name not in ("createpassword", "customfields", "preferences", "interests")
    }
    internal = row["auth"] in INTERNAL_AUTH_PLUGINS
    columns["password"] = _PASSWORD_KEPT if internal else PASSWORD_NOT_CACHED
    if "country" in columns:
        columns["country"] = stored_country(columns["country"])
    return new_user(**columns)


def _insert_statement(row: Mapping[str, Any]) -> str:
    """The statement and its values as Moodle prints them for a developer."""
    now = int(time.time())
    kept = [name for name in _CREATE_ROW.keys if name in row and name in USER_TEXT_COLUMNS]
    values: dict[str, object] = {
        name: row[name] for name in kept if name not in ("password", "city", "country")
    }
    values |= {"confirmed": 1, "mnethostid": "1", "password": PASSWORD_NOT_CACHED, "maildisplay": "2"}
    values |= {"mailformat": "1", "maildigest": "0", "autosubscribe": "1", "trackforums": "0"}
    values |= {"city": row.get("city", ""), "country": row.get("country", ""), "timecreated": now}
    values["timemodified"] = now
    shown = (
        f"  {index} => {value if isinstance(value, int) else repr(value)},\n"
        for index, value in enumerate(values.values())
    )
    marks = ",".join("?" * len(values))
    return f"INSERT INTO mdl_user ({','.join(values)}) VALUES({marks})\n[array (\n{''.join(shown)})]"


def delete_users(call: Call, params: dict[str, Any]) -> object:
    """Mark users as deleted, without memberships and idnumber; free the username.

    The names stay, and the site's log has login, address and idnumber, as on a real site.
    """
    call.require("moodle/user:delete")
    ids: list[int] = params["userids"]
    call.work(len(ids), writing=True)
    with call.storage.write(call.db):
        for user_id in ids:
            row = call.db.execute("SELECT * FROM users WHERE id = ? AND deleted = 0", (user_id,)).fetchone()
            if row is None:
                raise missing_record("user", "id", user_id)
            if user_id == ADMIN_ID:
                raise moodle_exception("useradminodelete", "Administrator accounts cannot be deleted.")
            if user_id == call.caller["id"]:
                raise moodle_exception("usernotdeletederror", "User not deleted - error")
            _delete(call.db, row)
    return None


def _delete(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    suffix = int(time.time())
    query = "SELECT 1 FROM users WHERE username_key = ?"
    while db.execute(query, (equality_key(f"{row['email']}.{suffix}"),)).fetchone() is not None:
        suffix += 1
    marker = hashlib.md5(row["username"].encode(), usedforsecurity=False).hexdigest()
    changes = {"username": f"{row['email']}.{suffix}", "email": marker, "idnumber": "", "deleted": 1}
    update_user(db, row["id"], changes)
    other = json.dumps({name: row[name] for name in ("username", "email", "idnumber")})
    db.execute("INSERT INTO events VALUES ('\\core\\event\\user_deleted', ?, ?)", (row["id"], other))
    db.execute("DELETE FROM cohort_members WHERE userid = ?", (row["id"],))


FUNCTIONS: Final = {
    "core_user_create_users": Function(Single({"users": Multiple(_CREATE_ROW)}), create_users),
    "core_user_delete_users": Function(Single({"userids": Multiple(Value("int"))}), delete_users),
}
