"""The accounts, as consumers load them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from pipeline.db.bulk_sql import rows_among
from pipeline.db.tables import accounts as a
from schemas.account import Account

# Made once: making a statement for each look costs more than the database does.
_DOCUMENTS: Final = select(a.c.document)
_VERSION: Final = select(a.c.version).where(a.c.student_number == bindparam("number"))


def newest(connection: Connection, student_numbers: Sequence[str]) -> dict[str, Account]:
    """The newest account of each of these students that has one."""
    rows = rows_among(connection, _DOCUMENTS, a.c.student_number, student_numbers)
    loaded = (Account.model_validate_json(row.document) for row in rows)
    return {account.student_number: account for account in loaded}


def by_stage(connection: Connection) -> dict[str, int]:
    """How many accounts there are in each stage."""
    rows = connection.execute(select(a.c.stage, func.count()).group_by(a.c.stage))
    return {row[0]: row[1] for row in rows}


def active_logins(connection: Connection, student_numbers: Sequence[str]) -> dict[str, str]:
    """The logins of these students' accounts, of those that were activated."""
    rows = connection.execute(
        select(a.c.student_number, a.c.login).where(
            a.c.student_number.in_(student_numbers), a.c.activated_at.is_not(None)
        )
    )
    return {row.student_number: row.login for row in rows}


def with_logins(connection: Connection, logins: Sequence[str]) -> dict[str, str]:
    """Login to student number, of the accounts that have one of these."""
    rows = connection.execute(select(a.c.login, a.c.student_number).where(a.c.login.in_(logins)))
    return {row.login: row.student_number for row in rows}


def version_of(connection: Connection, student_number: str) -> int | None:
    """The newest account's version, even if its document cannot be read; None: there is no account."""
    return connection.execute(_VERSION, {"number": student_number}).scalar_one_or_none()
