"""`sesame migrate` on a store that an older version has filled: no value is lost, the form is today's."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect

from sandbox.demo.machine import sesame_program
from sandbox.demo.program import environment
from sesame.testing.servers import stores
from tests import filled_store
from tests.filled_store import FORM, Rows


def sesame(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command on this database, as an operator does."""
    folder.mkdir(exist_ok=True)
    file = folder / "sesame.toml"
    file.write_text(f'data_dir = "data"\n[store]\nurl = "{url}"\n', encoding="utf-8")
    words = (str(sesame_program()), "--config", str(file), *words)
    return subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def migrated(folder: Path, url: str) -> str:
    """Bring a database to today's form by the command; its revision, as the command says it."""
    done = sesame(folder, url, "migrate")
    assert done.returncode == 0, done.stderr
    return done.stderr


@dataclass(frozen=True)
class Then:
    """A store of then after `sesame migrate`: its address, its rows before and after."""

    url: str
    before: Rows
    after: Rows


@pytest.fixture
def then(empty_url: str, tmp_path: Path) -> Then:
    filled_store.put(empty_url)
    before = filled_store.rows(empty_url)
    migrated(tmp_path, empty_url)
    return Then(empty_url, before, filled_store.rows(empty_url))


@pytest.fixture
def new_url(empty_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A second database without tables, of the same kind."""
    if empty_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    with stores.empty_database(request.getfixturevalue("postgres")) as url:
        yield url


def test_the_store_of_then_has_its_form_and_its_people(empty_url: str) -> None:
    filled_store.put(empty_url)
    found = filled_store.rows(empty_url)
    assert found["alembic_version"] == [{"version_num": FORM}]
    assert len(found["people"]) >= 20


def test_every_value_of_then_is_still_there(then: Then) -> None:
    for table in sorted(then.before.keys() - {"alembic_version"}):
        columns = sorted(then.before[table][0]) if then.before[table] else []
        expected, found = then.before[table], then.after.get(table, [])
        if table == "pg_sequences":  # those of newer tables are there besides
            names = {row["name"] for row in then.before[table]}
            found = [row for row in found if row["name"] in names]
        assert values(found, columns) == values(expected, columns), table


def values(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Counter[str]:
    """The rows as a multiset of what stands in these columns; a column that is gone shows as such."""
    return Counter(repr([(name, row.get(name, "the column is gone")) for name in columns]) for row in rows)


def test_a_store_of_then_has_the_form_of_a_new_one(then: Then, new_url: str, tmp_path: Path) -> None:
    migrated(tmp_path / "new", new_url)
    old, new = form(then.url), form(new_url)
    assert old.keys() == new.keys()
    for table in new:
        assert old[table] == new[table], table


def form(url: str) -> dict[str, Any]:
    """Every table's columns and keys, checks and indexes, as the database has them."""
    with closing(_Engine(url)) as opened:
        seen = inspect(opened.engine)
        return {
            table: {
                "columns": {one.pop("name"): _plain(one) for one in map(dict, seen.get_columns(table))},
                "primary key": _plain(seen.get_pk_constraint(table)),
                "foreign keys": _named(seen.get_foreign_keys(table)),
                "unique": _named(seen.get_unique_constraints(table)),
                "checks": _named(seen.get_check_constraints(table)),
                "indexes": _named(seen.get_indexes(table)),
            }
            for table in seen.get_table_names()
        }


class _Engine:
    def __init__(self, url: str) -> None:
        self.engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def close(self) -> None:
        self.engine.dispose()


def _named(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(map(_plain, found))


def _plain(found: Mapping[str, Any]) -> str:
    """What reflection says of one thing, as text: types and expressions have no equality of their own."""
    return repr(
        sorted((name, _plain(each) if isinstance(each, dict) else str(each)) for name, each in found.items())
    )


def test_a_migration_that_was_done_is_done_again_without_a_change(then: Then, tmp_path: Path) -> None:
    said = migrated(tmp_path, then.url)
    assert f"revision {then.after['alembic_version'][0]['version_num']}" in said
    assert filled_store.rows(then.url) == then.after


def test_the_commands_read_what_was_stored_then(then: Then, tmp_path: Path) -> None:
    seen = json.loads(sesame(tmp_path, then.url, "overview", "--json").stdout)
    followed = [row["student_number"] for row in then.before["propagation"]]
    assert seen["accounts"] == len(then.before["accounts"])
    assert seen["students"] == len(followed) > 0
