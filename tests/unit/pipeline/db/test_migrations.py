"""Migrations: from nothing to the form that the code wants, whoever else does it, and never backwards."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import (
    Column,
    MetaData,
    String,
    Table,
    column,
    create_mock_engine,
    func,
    insert,
    inspect,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.types import TypeEngine

from consumers.registry import teachings
from pipeline import lost_records, quarantine, replays
from pipeline.db import forms, migrate
from pipeline.db.database import Database
from pipeline.db.metadata import partial_index
from pipeline.db.migrate import StoreFromTheFuture, StoreNotMigrated
from producers.activation import choices, mail_proofs, throttles
from producers.registrar import feed_memory, import_runs
from producers.registrar.teachings import feed_memory as teaching_feed_memory
from sesame.app.tables import metadata
from sesame.operations.adoption import adoptions
from sesame.testing.servers import stores
from sesame.web.students import web_sessions
from tests.unit.database_kit import in_processes


def test_an_empty_database_is_brought_to_the_newest_form(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(StoreNotMigrated):
        migrate.check(database)
    assert migrate.upgrade(database).revision == forms.head()
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
    elsewhere |= {teaching_feed_memory.teaching_rows, teachings.teachings, teachings.known_teachings}
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


def _value(kind: TypeEngine[Any], number: int) -> object:
    kinds: dict[type, object] = {
        str: f"a{number}",
        int: number,
        float: number + 0.5,
        bool: True,
        bytes: b"\x00\xff%d" % number,
        date: date(2026, 9, number % 28 + 1),
    }
    return kinds[kind.python_type]


REVISIONS = [each.revision for each in reversed(list(migrate.script().walk_revisions()))][:-1]
"""Every form that a database may have today, oldest first, but the newest one."""


OF_MIGRATIONS = {"alembic_version", "store_form"}
"""The tables whose only row the migrations themselves put."""


def _fill(database: Database, number: int) -> dict[str, int]:
    """Put a row into every other table; the rows of each."""
    with database.write() as connection:
        for (_, name), columns in sorted(inspect(connection).get_multi_columns().items()):
            if name in OF_MIGRATIONS:
                continue
            row = {each["name"]: _value(each["type"], number) for each in columns}
            row |= {"state": "sent"} if name == "welcome_messages" else {}
            connection.execute(insert(table(name, *map(column, row))).values(row))
    return _rows(database)


def _rows(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table(name))).scalar_one()
            for name in inspect(connection).get_table_names()
        }


def test_rows_of_every_form_go_through_each_later_migration(empty_url: str) -> None:
    kept = dict[str, int]()
    with closing(Database(empty_url)) as database:
        for number, revision in enumerate([*REVISIONS, forms.head()], start=1):
            migrate.upgrade(database, to=revision)
            found = _rows(database)
            assert {name: found.get(name) for name in kept} == kept, revision
            kept = _fill(database, number)
        migrate.check(database)


@pytest.mark.parametrize("revision", REVISIONS[::9])
def test_a_filled_database_goes_forward_in_one_go(empty_url: str, revision: str) -> None:
    with closing(Database(empty_url)) as database:
        migrate.upgrade(database, to=revision)
        with pytest.raises(StoreNotMigrated):
            migrate.check(database)
        kept = _fill(database, 1)
        assert migrate.upgrade(database).revision == forms.head()
        migrate.check(database)
        found = _rows(database)
        assert {name: found.get(name) for name in kept} == kept


def test_users_of_moodle_that_were_adopted_are_named_by_their_id_and_their_number_apart(
    empty_url: str,
) -> None:
    named = {"1": "17", "2": "18 OLD 4", "3": "19 3", "4": "uid=x y"}
    asked = [("20 A", "separate", 1.0), ("20 B", "linked", 2.0), ("21", "linked", 3.0)]
    with closing(Database(empty_url)) as database:
        migrate.upgrade(database, to="0022")
        with database.write() as connection:
            for student, name in named.items():
                target = "directory" if student == "4" else "moodle"
                values = {"target": target, "student_number": student, "object": name, "evidence": "login"}
                connection.execute(insert(adoptions.adoptions).values(**values, adopted_at=1.0))
            for name, state, at in asked:
                row = adoptions.QuestionRow("moodle", name, "5", "idnumber_other", raised_at=0.0)
                values = {"id": row.id, "target": row.target, "object": name, "student_number": "5"}
                values |= {"kind": row.kind, "state": state}
                statement = insert(adoptions.adoption_questions)
                connection.execute(statement.values(**values, raised_at=0.0, decided_at=at))
        migrate.upgrade(database)
        with database.read() as connection:
            adopted = adoptions.objects_of(connection, "moodle", ["1", "2", "3"])
            assert adopted == {"1": "17", "2": "18\nOLD 4", "3": "19"}
            assert adoptions.objects_of(connection, "directory", ["4"]) == {"4": "uid=x y"}
            q = adoptions.adoption_questions.c
            rows = connection.execute(select(q.object, q.state, q.id).order_by(q.object)).all()
    assert [(name, state) for name, state, _ in rows] == [("20", "linked"), ("21", "linked")]
    for name, _, id_ in rows:
        assert id_ == adoptions.QuestionRow("moodle", name, "5", "idnumber_other").id


def test_the_numbered_files_end_with_the_revision_that_alembic_ends_with() -> None:
    assert forms.head() == migrate.script().get_current_head()
