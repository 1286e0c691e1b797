"""The newest version of each account: the registry saves it, consumers load it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)

from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from schemas.account import CANARY, SPONSOR_IN_JSON, Account, Stage

accounts = Table(
    "accounts",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("stage", String(16), nullable=False, index=True),
    Column("login", String(255), nullable=False, unique=True),
    Column("activated_at", Float),
    Column("changed_at", Float, nullable=False),
    Column("document", Text, nullable=False),  # schemas.account.Account as JSON
    Index("ix_accounts_activated", "student_number", "version", "activated_at"),
    info=rows_of("student_number", numbered_in=[("document", SPONSOR_IN_JSON)]),
)


LIVE: Final = (accounts.c.activated_at.is_not(None), accounts.c.stage != Stage.ERASED.value)
"""Conditions of the accounts that targets may hold something of: activated, and not erased."""

COUNTED: Final = accounts.c.student_number != CANARY
"""Condition of the accounts that are counted, listed and exported: all but the canary's."""

_ROWS_PER_PAGE = 1000

# Made once: making a statement for each look costs more than the database does.
_DOCUMENTS: Final = select(accounts.c.document)
_DOCUMENT: Final = select(accounts.c.document).where(accounts.c.student_number == bindparam("number"))
_VERSION: Final = select(accounts.c.version).where(accounts.c.student_number == bindparam("number"))
_MINTED: Final = select(accounts.c.student_number, accounts.c.version, accounts.c.activated_at)
_FIRST: Final = insert(accounts)
_NEXT: Final = update(accounts).where(
    accounts.c.student_number == bindparam("number"), accounts.c.version == bindparam("before")
)


def newest(connection: Connection, student_numbers: Sequence[str]) -> dict[str, Account]:
    """Return these students' newest accounts, by number; those without are left out."""
    rows = rows_among(connection, _DOCUMENTS, accounts.c.student_number, student_numbers)
    loaded = (Account.model_validate_json(row.document) for row in rows)
    return {account.student_number: account for account in loaded}


class Minted(NamedTuple):
    """The newest version of an account, and whether its student has asked for it."""

    version: int
    is_activated: bool


def minted(connection: Connection, student_numbers: Sequence[str]) -> dict[str, Minted]:
    """Return the newest versions of these students' accounts, even of unreadable documents."""
    rows = rows_among(connection, _MINTED, accounts.c.student_number, student_numbers)
    return {row.student_number: Minted(row.version, row.activated_at is not None) for row in rows}


def find(connection: Connection, student_number: str) -> Account | None:
    """Return a student's newest account; None: there is none."""
    text = connection.execute(_DOCUMENT, {"number": student_number}).scalar_one_or_none()
    return None if text is None else Account.model_validate_json(text)


def save(connection: Connection, account: Account, changed_at: float) -> None:
    """Replace a student's account by its new version. Call it under the person's lock."""
    values = {
        "version": account.version,
        "stage": account.stage.value,
        "login": account.login,
        "activated_at": account.activated_at.timestamp() if account.activated_at else None,
        "changed_at": changed_at,
        "document": account.model_dump_json(),
    }
    if account.version == 1:
        connection.execute(_FIRST, {"student_number": account.student_number, **values})
        return
    before = {"number": account.student_number, "before": account.version - 1}
    done = connection.execute(_NEXT, {**before, **values})
    if done.rowcount != 1:
        raise AssertionError(f"version {account.version} was minted without the person's lock")


def overtake(connection: Connection, student_number: str, version: int) -> None:
    """Raise the version to a target's, which a restored store may lack. Call it under the person's lock."""
    account = find(connection, student_number)
    if account is not None and account.version < version:
        document = account.model_copy(update={"version": version}).model_dump_json()
        connection.execute(
            update(accounts)
            .where(accounts.c.student_number == student_number)
            .values(version=version, document=document)
        )


def by_stage(connection: Connection) -> dict[str, int]:
    """Count the accounts in each stage."""
    query = select(accounts.c.stage, func.count()).where(COUNTED).group_by(accounts.c.stage)
    rows = connection.execute(query)
    return {row[0]: row[1] for row in rows}


def active_logins(connection: Connection, student_numbers: Sequence[str]) -> dict[str, str]:
    """Return the logins of these students' activated accounts."""
    rows = connection.execute(
        select(accounts.c.student_number, accounts.c.login).where(
            accounts.c.student_number.in_(student_numbers), accounts.c.activated_at.is_not(None)
        )
    )
    return {row.student_number: row.login for row in rows}


def with_logins(connection: Connection, logins: Sequence[str]) -> dict[str, str]:
    """Map these logins to student numbers; unknown ones are left out."""
    rows = connection.execute(
        select(accounts.c.login, accounts.c.student_number).where(accounts.c.login.in_(logins))
    )
    return {row.login: row.student_number for row in rows}


def numbers_after(connection: Connection, *which: ColumnElement[bool], after: str, limit: int) -> list[str]:
    """Return up to `limit` student numbers above `after` (empty: from the first) whose accounts match."""
    number = accounts.c.student_number
    which = (number > after, COUNTED, *which)
    return list(connection.scalars(select(number).where(*which).order_by(number).limit(limit)))


def number_pages(database: Database, *which: ColumnElement[bool], size: int) -> Iterator[list[str]]:
    """Iterate over the matching numbers, `size` at a time. No transaction stays open between pages."""
    last = ""
    while True:
        with database.read() as connection:
            page = numbers_after(connection, *which, after=last, limit=size)
        if not page:
            return
        yield page
        last = page[-1]


def pages(connection: Connection, query: Select[Any]) -> Iterator[list[tuple[str, int]]]:
    """Iterate over pages of activated accounts: student number and version, which `query` selects."""
    last = ""
    query = query.where(accounts.c.activated_at.is_not(None), COUNTED).order_by(accounts.c.student_number)
    while True:
        found = connection.execute(query.where(accounts.c.student_number > last).limit(_ROWS_PER_PAGE))
        page = [(str(row[0]), int(row[1])) for row in found]
        if not page:
            return
        yield page
        last = page[-1][0]


def version_of(connection: Connection, student_number: str) -> int | None:
    """Return the newest version, even of an unreadable document; None: no account."""
    return connection.execute(_VERSION, {"number": student_number}).scalar_one_or_none()
