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
_POSTGRESQL_LOCK = 7_371_616  # any number of our own: two processes migrate one after the other


class StoreNotMigrated(SesameError):
    """The database has not the form that this version of Sésame wants. Run `sesame migrate` once, while no
    older version is running."""


class StoreFromTheFuture(SesameError):
    """The database was migrated by a newer version of Sésame. Upgrade this installation."""


def upgrade(database: Database) -> str:
    """Migrate to the newest form; return the revision. Doing it again, or twice at once, is harmless.

    Raises:
        StoreFromTheFuture: a newer version was here.
        StoreUnavailable: nothing was changed.
    """
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
        config = _config(connection)
        _refuse_the_future(connection, config)
        command.upgrade(config, "head")
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
    return str(ScriptDirectory.from_config(_config()).get_current_head())


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
