"""Migrations: from nothing to the form that the code wants, whoever else does it, and never backwards."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from pipeline.store import feeds, migrate
from pipeline.store.database import Database
from pipeline.store.migrate import StoreFromTheFuture, StoreNotMigrated
from pipeline.store.tables import metadata
from tests.unit.store_kit import in_processes


def test_an_empty_database_is_brought_to_the_newest_form(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(StoreNotMigrated):
        migrate.check(database)
    assert migrate.upgrade(database) == migrate.head()
    migrate.check(database)
    assert migrate.upgrade(database) == migrate.head()
    database.close()


def test_the_migrations_give_the_very_tables_that_the_code_uses(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        checks = {
            (table.name, constraint["name"])
            for table in metadata.sorted_tables
            for constraint in inspect(connection).get_check_constraints(table.name)
        }
    assert {feeds.imports, feeds.feed_rows} <= set(metadata.sorted_tables)  # declared in a room of their own
    assert ("welcome_messages", "ck_welcome_messages_state") in checks


def _upgrade(results: Any, url: str) -> None:
    database = Database(url)
    results.put(migrate.upgrade(database))
    database.close()


def test_two_processes_that_migrate_at_once_do_not_hinder_each_other(database_url: str) -> None:
    assert in_processes(_upgrade, [(database_url,)] * 2) == [migrate.head()] * 2
    database = Database(database_url)
    migrate.check(database)
    database.close()


def test_a_database_from_the_future_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreFromTheFuture):
        migrate.check(database)
    with pytest.raises(StoreFromTheFuture):
        migrate.upgrade(database)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_migration_that_fails_leaves_nothing_half_done(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise KeyError("oops")

    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", broken)
    database = Database(database_url)
    with pytest.raises(KeyError):
        migrate.upgrade(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()
