"""Bring a database to the form that this version wants, and tell whether it has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from pipeline.db.database import Database
from pipeline.errors import SesameError

if TYPE_CHECKING:  # loaded where there is something to migrate: each command looks whether there is
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_FOLDER = Path(__file__).parent / "migrations"


class StoreNotMigrated(SesameError):
    """The database has not the form that this version of Sésame wants. Run `sesame migrate` once, while no
    older version is running."""


class StoreFromTheFuture(SesameError):
    """The database was migrated by a newer version of Sésame. Upgrade this installation."""


def upgrade(database: Database, *, to: str = "head") -> str:
    """Migrate to the newest form, or to that of revision `to`; return the newest revision. Doing it again, or
    twice at once, is harmless.

    Raises:
        StoreFromTheFuture: a newer version was here.
        StoreUnavailable: nothing was changed.
    """
    if to == "head" and database.is_sqlite:
        with database.read() as connection:
            if _revision(connection) == head():
                return head()
    from alembic import command

    with database.write() as connection:
        if not database.is_sqlite:
            # Whoever has another one's migration to wait for, or a large table to change, waits.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            database.alone(connection, "migration")
        _refuse_the_future(connection)
        command.upgrade(_config(connection), to)
    return head()


def check(database: Database) -> None:
    """Make sure that the database has this version's form.

    Raises:
        StoreNotMigrated, StoreFromTheFuture: it has not.
    """
    with database.read() as connection:
        if _revision(connection) != head():
            _refuse_the_future(connection)
            raise StoreNotMigrated


def head() -> str:
    """The newest revision that this version knows: their files are numbered."""
    return max(file.name.partition("_")[0] for file in (_FOLDER / "versions").glob("[0-9]*_*.py"))


def script() -> ScriptDirectory:
    """The migrations, as Alembic knows them."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    """The one that the database has; None: it was never migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _refuse_the_future(connection: Connection) -> None:
    current = _revision(connection)
    if current is not None and current not in {each.revision for each in script().walk_revisions()}:
        raise StoreFromTheFuture
