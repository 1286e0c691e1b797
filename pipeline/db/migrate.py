"""Migrate the database to this version's form, and check compatibility.

Most steps **expand**: programs of the version before keep working during the migration and after a rollback.
A step that removes what they use has `contracts = True` in its file: it waits until none of them is at work,
and from then on they are refused (ADR 42).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Column, Connection, String, Table, inspect, select, text, update

from pipeline.db import forms
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody
from pipeline.db.postgresql import programs
from pipeline.errors import SesameError
from schemas.language import gettext

if TYPE_CHECKING:  # loaded only where there is something to migrate
    from alembic.config import Config
    from alembic.script import Script, ScriptDirectory

store_form = Table(
    "store_form",
    metadata,
    Column("oldest", String(32), primary_key=True),  # older versions cannot work with this store
    info=of_nobody("which versions may work with this store"),
)

_SUBJECT: Final = "migration"

AtWork = Callable[[], Iterable[str]]
"""The other processes that have the embedded file open, in words."""


class StoreNotMigrated(SesameError):
    """The database has not the form that this version of Sésame wants. Run `sesame migrate` once."""


class StoreBeforeFirstForm(SesameError):
    """The database has a form from before the first release, which this version cannot migrate. Nothing was
    written. Check out commit b527fd79 of Sésame, run `sesame migrate` there, then go on with this version; of
    a backup, restore it there first."""


class StoreFromTheFuture(SesameError):
    """A newer version of Sésame has migrated the database, and this one cannot work with it any more. Upgrade
    this installation."""


class OlderAtWork(SesameError):
    """Programs of an older version work with this database, and the next step takes from them what they use.
    Stop them, then run `sesame migrate` again; or let `sesame migrate --wait` wait for them."""

    exit_code = 5


class Migrated(NamedTuple):
    """The database's revision, and the older programs that its next step waits for."""

    revision: str
    older: tuple[str, ...] = ()


def upgrade(database: Database, *, to: str = "head", at_work: AtWork = tuple) -> Migrated:
    """Migrate to the newest form, or to revision `to`, as far as allowed.

    Older programs at work (on SQLite: `at_work`) hold back the steps that contract. Repeated and concurrent
    calls are harmless.

    Raises:
        OlderAtWork: this version cannot work with the database before they have ended.
        StoreBeforeFirstForm: this version cannot migrate the database's form.
        StoreFromTheFuture: a newer version has migrated it, and this one cannot work with the result.
        StoreUnavailable: nothing was changed.
    """
    goal = forms.head() if to == "head" else to
    if database.is_sqlite:
        with database.read() as connection:
            if _revision(connection) == goal:
                return Migrated(goal)
    from alembic import command

    with database.write() as connection:
        if not database.is_sqlite:
            # Waiting for another process's migration, or changing a large table, takes long.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            database.alone(connection, _SUBJECT)
        current = _known_revision(connection)
        if _is_newer(connection, current):
            return Migrated(str(current))
        steps, older = list(_steps(current, goal)), tuple[str, ...]()
        if current is not None:
            steps, older = _allowed(connection, database, current, steps, at_work)
        if not steps:
            return Migrated(str(current), older)
        _stand_on_a_step(connection, current)
        command.upgrade(_config(connection), steps[-1].revision)
        if taken := [step.revision for step in steps if _contracts(step)]:
            connection.execute(update(store_form).values(oldest=taken[-1]))
        return Migrated(steps[-1].revision, older)


def _allowed(
    connection: Connection, database: Database, current: str, steps: list[Script], at_work: AtWork
) -> tuple[list[Script], tuple[str, ...]]:
    """Split off the steps allowed now; also return the older programs that block."""
    for at, step in enumerate(steps):
        older = _older(connection, database, step.revision, at_work) if _contracts(step) else ()
        if older:
            if (steps[at - 1].revision if at else current) < _needed():
                raise OlderAtWork(gettext("still at work: {who}", who=", ".join(older)))
            return steps[:at], older
    return steps, ()


def is_empty(database: Database) -> bool:
    """Whether the database was never migrated, and so holds nothing."""
    with database.read() as connection:
        return _revision(connection) is None


def check(database: Database) -> str:
    """Check that this version can work with the database; return its revision.

    Raises:
        StoreNotMigrated, StoreBeforeFirstForm, StoreFromTheFuture: it cannot.
    """
    with database.read() as connection:
        if not database.is_sqlite:
            database.beside(connection, _SUBJECT)  # a concurrent migration does not see this process
        current = _known_revision(connection)
        if current == forms.head() or _is_newer(connection, current):
            return str(current)
        if current is None or current < _needed():
            raise StoreNotMigrated
        return current


def script() -> ScriptDirectory:
    """Return the migrations, as Alembic's directory."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(forms.MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _steps(current: str | None, goal: str) -> Iterator[Script]:
    """Iterate over the migrations from `current` to `goal`, in order."""
    between = [each for each in script().walk_revisions() if (current or "") < each.revision <= goal]
    return iter(sorted(between, key=lambda each: each.revision))


def _stand_on_a_step(connection: Connection, current: str | None) -> None:
    """Renumber an unreleased form that a later step includes by the step before it."""
    before = [step.revision for step in script().walk_revisions() if step.revision <= (current or "")]
    if current is not None and current not in before:
        connection.execute(text("UPDATE alembic_version SET version_num = :step"), {"step": max(before)})


def _contracts(step: Script) -> bool:
    return bool(getattr(step.module, "contracts", False))


def _needed() -> str:
    """Return the oldest form that this version works with: the steps after it only contract."""
    steps = sorted(script().walk_revisions(), key=lambda each: each.revision, reverse=True)
    return next(each.revision for each in steps if not _contracts(each))


def _older(connection: Connection, database: Database, revision: str, at_work: AtWork) -> tuple[str, ...]:
    """Return the programs at work that do not know this revision.

    An embedded file does not tell versions apart: any process that has it open counts.
    """
    if database.is_sqlite:
        return tuple(at_work())
    return tuple(program.words for program in programs(connection) if program.form < revision)


def _revision(connection: Connection) -> str | None:
    """Return the database's revision; None: it was never migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _known_revision(connection: Connection) -> str | None:
    """As `_revision`. Raises `StoreBeforeFirstForm` if no migration leads from it to today's form."""
    current = _revision(connection)
    if current is not None and current < forms.first():
        raise StoreBeforeFirstForm
    return current


def _is_newer(connection: Connection, current: str | None) -> bool:
    """Return whether a newer version migrated the database. Raises `StoreFromTheFuture` if incompatibly."""
    if current is None or current <= forms.head():
        return False
    oldest: str | None = connection.execute(select(store_form.c.oldest)).scalar_one_or_none()
    if oldest is None or oldest > forms.head():
        raise StoreFromTheFuture
    return True
