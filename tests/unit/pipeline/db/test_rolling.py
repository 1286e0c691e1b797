"""Two versions with one database: what expands waits for nobody, what contracts waits for the older ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from pipeline.db import forms, migrate
from pipeline.db.database import Database
from pipeline.db.embedded import processes_with
from pipeline.db.migrate import OlderAtWork, StoreFromTheFuture, StoreNotMigrated

OLD = forms.MIGRATIONS
STEP = '''"""A step of the next version."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None
{contracts}
def upgrade():
    {step}
'''


def expands(revision: str, before: str) -> str:
    step = f'op.add_column("outbox", sa.Column("c{revision}", sa.Text(), nullable=True))'
    return STEP.format(revision=revision, before=before, contracts="", step=step)


def contracts(revision: str, before: str) -> str:
    step = f'op.drop_table("{"timers" if revision < "9003" else "site_locks"}")'
    return STEP.format(revision=revision, before=before, contracts="contracts = True", step=step)


class Versions:
    """This version, and those after it: `at` makes one the version of what is done inside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.head = forms.head()

    def make(self, name: str, *steps: str) -> Path:
        """A version whose migrations go on with these, numbered from 9001."""
        made = self._folder / name
        shutil.copytree(OLD, made)
        before = self.head
        for at, step in enumerate(steps):
            revision = f"{9001 + at}"
            write = {"expands": expands, "contracts": contracts}[step]
            (made / "versions" / f"{revision}_more.py").write_text(write(revision, before), encoding="utf-8")
            before = revision
        return made

    @contextmanager
    def at(self, version: Path) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forms, "MIGRATIONS", version)
            yield


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path)


@contextmanager
def program(url: str) -> Iterator[Database]:
    """A program that has the database open, as a process of its own on SQLite."""
    with closing(Database(url)) as database, database.read() as connection:
        connection.execute(text("SELECT 1"))
        if not database.is_sqlite:
            yield database
            return
        path = url.removeprefix("sqlite:///")
        said = (
            f"d = sqlite3.connect({path!r})",
            "d.execute('SELECT 1 FROM outbox').fetchall()",
            "print(1, flush=True)",
        )
        code = "; ".join(("import sqlite3, sys", *said, "sys.stdin.read()"))
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            yield database
            process.communicate()


def at_work(url: str) -> list[str]:
    return list(processes_with(Path(url.removeprefix("sqlite:///")))) if url.startswith("sqlite") else []


def upgraded(url: str) -> str:
    with closing(Database(url)) as database:
        return migrate.upgrade(database, at_work=lambda: at_work(url)).revision


def awaited(url: str) -> list[str]:
    with closing(Database(url)) as database:
        return list(migrate.upgrade(database, at_work=lambda: at_work(url)).older)


def checked(url: str) -> str:
    with closing(Database(url)) as database:
        return migrate.check(database)


def tables(url: str) -> set[str]:
    with closing(Database(url)) as database, database.read() as connection:
        return set(inspect(connection).get_table_names())


def test_what_expands_waits_for_nobody_and_old_ones_go_on_and_begin(
    empty_url: str, versions: Versions
) -> None:
    assert upgraded(empty_url) == versions.head
    new = versions.make("new", "expands", "expands")
    with program(empty_url) as old:
        with versions.at(new):
            with pytest.raises(StoreNotMigrated):
                checked(empty_url)
            assert upgraded(empty_url) == "9002"
            assert checked(empty_url) == "9002"
            assert awaited(empty_url) == []
        with old.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 0
    assert checked(empty_url) == "9002", "an old program begins on the new form: a rollback"
    assert upgraded(empty_url) == "9002", "and takes nothing back"


def test_what_contracts_waits_for_the_last_old_one_and_then_refuses_old_ones(
    empty_url: str, versions: Versions
) -> None:
    upgraded(empty_url)
    new = versions.make("new", "expands", "contracts")
    with program(empty_url), versions.at(new):
        assert upgraded(empty_url) == "9001"
        [who] = awaited(empty_url)
        assert f"sesame/{versions.head}" in who or who.startswith("process ")
        assert "timers" in tables(empty_url)
        assert checked(empty_url) == "9001", "a new program works beside the old one"
    assert checked(empty_url) == "9001", "and so does an old one after a rollback"
    with versions.at(new):
        assert upgraded(empty_url) == "9002"
        assert awaited(empty_url) == []
        assert "timers" not in tables(empty_url)
        assert checked(empty_url) == "9002"
    for act in (checked, upgraded):
        with pytest.raises(StoreFromTheFuture):
            act(empty_url)


def test_new_ones_at_work_keep_nothing_waiting(empty_url: str, versions: Versions) -> None:
    """On PostgreSQL, where programs say which form they know."""
    if empty_url.startswith("sqlite"):
        assert at_work(empty_url) == []
        return
    upgraded(empty_url)
    new = versions.make("new", "contracts")
    with versions.at(new), program(empty_url):
        assert upgraded(empty_url) == "9001"


def test_a_program_that_needs_what_lies_behind_a_contract_does_not_begin(
    empty_url: str, versions: Versions
) -> None:
    upgraded(empty_url)
    new = versions.make("new", "contracts", "expands")
    with program(empty_url), versions.at(new):
        with pytest.raises(OlderAtWork, match="still at work: ") as refused:
            upgraded(empty_url)
        assert refused.value.exit_code == 5
        with pytest.raises(StoreNotMigrated):
            checked(empty_url)
    with versions.at(new):
        assert upgraded(empty_url) == "9002"


def test_a_version_after_the_next_needs_no_stop_in_between(empty_url: str, versions: Versions) -> None:
    upgraded(empty_url)
    with versions.at(versions.make("new", "expands", "contracts", "expands", "contracts")):
        assert upgraded(empty_url) == "9004"
    with versions.at(versions.make("before", "expands", "contracts")), pytest.raises(StoreFromTheFuture):
        checked(empty_url)
    with (
        versions.at(versions.make("near", "expands", "contracts", "expands")),
        pytest.raises(StoreFromTheFuture),
    ):
        checked(empty_url)


def test_an_empty_database_is_made_at_once(empty_url: str, versions: Versions) -> None:
    with versions.at(versions.make("new", "expands", "contracts")):
        with closing(Database(empty_url)) as database:
            assert migrate.upgrade(database, at_work=lambda: ["somebody"]) == ("9002", ())
        assert checked(empty_url) == "9002"
