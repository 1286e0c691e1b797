"""Bring a database to the form that this version wants, and tell whether it has it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from pipeline.errors import SesameError
from pipeline.store.database import Database

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
    with database.write() as connection:
        if not database.is_sqlite:
            # Whoever has another one's migration to wait for, or a large table to change, waits.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            database.alone(connection, "migration")
        config = _config(connection)
        _refuse_the_future(connection, config)
        command.upgrade(config, to)
    return head()


def check(database: Database) -> None:
    """Make sure that the database has this version's form.

    Raises:
        StoreNotMigrated, StoreFromTheFuture: it has not.
    """
    with database.read() as connection:
        config = _config(connection)
        _refuse_the_future(connection, config)
        if MigrationContext.configure(connection).get_current_revision() != head():
            raise StoreNotMigrated


def head() -> str:
    """The newest revision that this version knows."""
    return str(script().get_current_head())


def script() -> ScriptDirectory:
    """The migrations, as Alembic knows them."""
    return ScriptDirectory.from_config(_config())


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _refuse_the_future(connection: Connection, config: Config) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreFromTheFuture
