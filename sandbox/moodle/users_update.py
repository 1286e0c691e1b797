"""`core_user_update_users`: each user is updated or not; warnings list the others."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Final

from sandbox.moodle.call import Call, Function
from sandbox.moodle.errors import MoodleError, moodle_exception, untranslated, write_error
from sandbox.moodle.params import ABSENT, INTERNAL_AUTH_PLUGINS, Multiple, Single, Value
from sandbox.moodle.storage import ADMIN_ID, GUEST_ID, update_user
from sandbox.moodle.users import (
    PROFILE_FIELDS,
    email_taken,
    is_email,
    refused_password,
    stored_country,
    too_long,
)

_UPDATE_ROW: Final = Single(
    {
        "id": Value("int"),
        "username": Value("username", ABSENT),
        "auth": Value("auth", ABSENT),
        "suspended": Value("bool", ABSENT),
        "password": Value("raw", ABSENT),
        "firstname": Value("notags", ABSENT),
        "lastname": Value("notags", ABSENT),
        "email": Value("raw_trimmed", ABSENT),
        "userpicture": Value("int", ABSENT),
        **PROFILE_FIELDS,
    }
)


def update_users(call: Call, params: dict[str, Any]) -> object:
    """Update each user in turn. A refused one becomes a warning and the others are kept.

    A blank name is accepted and wipes the name, as on a real site.
    """
    call.require("moodle/user:update")
    rows: list[dict[str, Any]] = params["users"]
    call.work(len(rows), writing=True)
    warnings: list[dict[str, object]] = []
    with call.storage.write(call.db):
        for row in rows:
            try:
                _update(call, row)
            except MoodleError as error:
                warnings.append(
                    {
                        "item": "user",
                        "itemid": row["id"],
                        "warningcode": error.errorcode,
                        "message": error.message,
                    }
                )
    return {"warnings": warnings}


def _update(call: Call, row: Mapping[str, Any]) -> None:
    existing = call.db.execute("SELECT * FROM users WHERE id = ?", (row["id"],)).fetchone()
    _check_allowed(existing)
    email = row.get("email", existing["email"])
    if email != existing["email"]:
        if not is_email(email):
            raise untranslated("useremailinvalid")
        if not call.conditions.allow_accounts_same_email and email_taken(call.db, email, except_id=row["id"]):
            raise moodle_exception("useremailduplicate", "Duplicate address")
    if "password" in row and row.get("auth", existing["auth"]) in INTERNAL_AUTH_PLUGINS:
        refusal = refused_password(row["password"])
        if refusal is not None:
            raise refusal
    left_out = ("id", "password", "userpicture", "customfields", "preferences", "interests")
    changes = {name: value for name, value in row.items() if name not in left_out}
    if "country" in changes:
        changes["country"] = stored_country(changes["country"])
    column = too_long(changes)
    if column is not None:
        raise write_error(f"Data too long for column '{column}' at row 1")
    try:
        update_user(call.db, row["id"], {**changes, "timemodified": int(time.time())})
    except sqlite3.IntegrityError as error:
        raise write_error(f"Duplicate entry: {error}") from error


def _check_allowed(existing: sqlite3.Row | None) -> None:
    if existing is None:
        raise moodle_exception("invaliduserid", "Invalid user ID")
    if existing["id"] == ADMIN_ID:
        raise moodle_exception("usernotupdatedadmin", "Cannot update admin accounts")
    if existing["deleted"]:
        raise moodle_exception("usernotupdateddeleted", "User is a deleted user")
    if existing["id"] == GUEST_ID:
        raise moodle_exception("usernotupdatedguest", "Cannot update guest account")


FUNCTIONS: Final = {
    "core_user_update_users": Function(Single({"users": Multiple(_UPDATE_ROW)}), update_users),
}
