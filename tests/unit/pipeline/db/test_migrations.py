"""Migrations: from nothing to the form that the code wants, whoever else does it, and never backwards."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, String, Table, create_mock_engine, inspect, make_url, text

from consumers.registry import teachings
from pipeline import lost_records, quarantine, replays
from pipeline.db import forms, migrate
from pipeline.db.database import Database
from pipeline.db.metadata import partial_index
from pipeline.db.migrate import StoreBeforeFirstForm, StoreFromTheFuture, StoreNotMigrated
from producers.activation import choices, mail_proofs, throttles
from producers.registrar import feed_memory, import_runs
from sesame.app.tables import metadata
from sesame.testing.servers import stores
from sesame.testing.servers.database_kit import in_processes
from sesame.web.students import web_sessions


def test_an_empty_database_is_brought_to_the_newest_form(empty_url: str) -> None:
    database = Database(empty_url)
    assert migrate.is_empty(database)
    with pytest.raises(StoreNotMigrated):
        migrate.check(database)
    assert migrate.upgrade(database).revision == forms.head()
    assert not migrate.is_empty(database)
    migrate.check(database)
    assert migrate.upgrade(database).revision == forms.head()
    database.close()


def test_the_migrations_give_the_very_tables_that_the_code_uses(database: Database) -> None:
    with database.read() as connection:
        opts = {"compare_type": True, "compare_server_default": True, "include_object": _is_of_both_databases}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
        checks = {
            (table.name, constraint["name"])
            for table in metadata.sorted_tables
            for constraint in inspect(connection).get_check_constraints(table.name)
        }
    elsewhere = {import_runs.imports, feed_memory.feed_rows, mail_proofs.mail_proofs, throttles.throttles}
    elsewhere |= {web_sessions.web_sessions, choices.charter_acceptances}
    elsewhere |= {quarantine.quarantines, lost_records.lost_records}
    elsewhere |= {feed_memory.teaching_rows, teachings.teachings, teachings.known_teachings}
    elsewhere |= {replays.replays, replays.replay_students}
    assert elsewhere <= set(metadata.sorted_tables)  # declared in rooms of their own
    assert ("welcome_messages", "ck_welcome_messages_state") in checks


def _is_of_both_databases(_object: object, name: str | None, *_more: object) -> bool:
    return name != "ix_people_identity"  # PostgreSQL's alone, and not on every server


@pytest.mark.parametrize("may", [True, False])
def test_names_are_found_by_an_index_where_the_server_lets_its_owner_have_it(
    postgres: stores.Server, *, may: bool
) -> None:
    with stores.empty_database(postgres) as url, psycopg.connect(url, autocommit=True) as owner:
        if not may:
            owner.execute(
                "DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM %I',"
                " current_database(), current_user); END $$"
            )
            if owner.execute("SELECT has_database_privilege(current_database(), 'CREATE')").fetchone() != (
                False,
            ):
                pytest.skip("the tests' role is an administrator's, who may do anything")
        with closing(Database(url)) as database:
            assert migrate.upgrade(database).revision == forms.head()
            migrate.check(database)
        found = owner.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'people'").fetchall()
        assert (("ix_people_identity",) in found) is may


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+psycopg://"])
def test_an_index_of_some_rows_is_one_on_either_database(url: str) -> None:
    said: list[str] = []
    rows = MetaData()
    Table("rows", rows, Column("name", String), partial_index("some_rows", "name IS NOT NULL", "name"))
    dialect = make_url(url).get_dialect()()
    engine = create_mock_engine(url, lambda ddl, *_: said.append(str(ddl.compile(dialect=dialect))))
    rows.create_all(engine, checkfirst=False)
    assert "CREATE INDEX some_rows ON rows (name) WHERE name IS NOT NULL" in said


def _upgrade(results: Any, url: str) -> None:
    database = Database(url)
    results.put(migrate.upgrade(database).revision)
    database.close()


def test_two_processes_that_migrate_at_once_do_not_hinder_each_other(empty_url: str) -> None:
    assert in_processes(_upgrade, [(empty_url,)] * 2) == [forms.head()] * 2
    database = Database(empty_url)
    migrate.check(database)
    database.close()


def test_a_database_from_the_future_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE store_form SET oldest = '9998'"))
    with pytest.raises(StoreFromTheFuture):
        migrate.check(database)
    with pytest.raises(StoreFromTheFuture):
        migrate.upgrade(database)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_migration_that_fails_leaves_nothing_half_done(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise KeyError("oops")

    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", broken)
    database = Database(empty_url)
    with pytest.raises(KeyError):
        migrate.upgrade(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()


@pytest.mark.parametrize("revision", ["0001", "0015", "0045", "0047"])
def test_a_form_from_before_the_first_one_is_refused_and_nothing_is_written(
    empty_url: str, revision: str
) -> None:
    with closing(Database(empty_url)) as database:
        with database.write() as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
        with pytest.raises(StoreBeforeFirstForm, match=r"commit [0-9a-f]{8}"):
            migrate.check(database)
        with pytest.raises(StoreBeforeFirstForm):
            migrate.upgrade(database)
        with database.read() as connection:
            assert inspect(connection).get_table_names() == ["alembic_version"]
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        assert found == [revision]


@pytest.mark.parametrize("revision", ["0049", "0050", "0051", "0052", "0053"])
def test_a_form_that_was_never_released_goes_forward_with_what_it_has(empty_url: str, revision: str) -> None:
    with closing(Database(empty_url)) as database:
        migrate.upgrade(database, to="0048")
        with database.write() as connection:
            connection.execute(text("ALTER TABLE people ADD COLUMN mobile VARCHAR(16)"))
            if revision >= "0050":
                connection.execute(
                    text(
                        "CREATE TABLE feed_polls (feed VARCHAR(64) PRIMARY KEY, owner VARCHAR(64) NOT NULL,"
                        " seen_at FLOAT NOT NULL, through BIGINT NOT NULL, finished_at FLOAT)"
                    )
                )
                connection.execute(text("INSERT INTO feed_polls VALUES ('pegase', 'p', 1.0, 17, 2.0)"))
            later = {
                "throughput": "0051",
                "forecasts": "0051",
                "propagation_times": "0052",
                "canary_steps": "0053",
            }
            for table in (name for name, since in later.items() if revision >= since):
                metadata.tables[table].create(connection)
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})
        with pytest.raises(StoreNotMigrated):
            migrate.check(database)
        assert migrate.upgrade(database).revision == forms.head()
        migrate.check(database)
        with database.read() as connection:
            there = inspect(connection).get_table_names()
            through = connection.execute(text("SELECT through FROM feed_polls")).scalars().all()
            columns = {column["name"] for column in inspect(connection).get_columns("people")}
        assert {"mobile", "ine_provisional", "esi"} <= columns
        assert {"throughput", "forecasts", "feed_polls", "propagation_times", "canary_steps"} <= set(there)
        assert through == ([17] if revision >= "0050" else [])


def test_the_numbered_files_end_with_the_revision_that_alembic_ends_with() -> None:
    assert forms.head() == migrate.script().get_current_head()
