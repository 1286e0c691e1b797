"""The console's pages read few rows, however many accounts there are: by PostgreSQL's own word."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bench.console_pages import BYTES_MAX, PAGES
from bench.history import SHARES, Sort, fill, number_of
from pipeline.db import migrate
from pipeline.db.database import Database
from sesame.acts.acts import Actor, Role
from sesame.testing.servers import stores
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.console_scene import morning

ACCOUNTS = 20_000
ROWS_MAX = 6_000
"""A page may read so many: everybody who has a cause, and never everybody."""

Statement = tuple[str, Any]


@pytest.fixture(scope="module")
def desk(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDesk]:
    """A console on a store that the benchmark's generator has filled."""
    with stores.empty_database(postgres) as url:
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        with ConsoleDesk(tmp_path_factory.mktemp("console"), store=url) as desk:
            students = morning(desk)
            fill(url, [Sort(students[name], share) for name, share in SHARES.items()], ACCOUNTS)
            yield desk


@contextmanager
def statements(engine: Engine) -> Iterator[list[Statement]]:
    """What is read meanwhile."""
    seen: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")) and "pg_advisory" not in statement:
            seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def rows_read(engine: Engine, asked: Sequence[Statement]) -> int:
    """How many rows these statements read, those that were passed over included."""
    with engine.connect() as connection:
        plans = [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            for statement, parameters in asked
        ]
    return sum(_rows(each if isinstance(each, list) else json.loads(each)) for each in plans)


def _rows(plan: Any) -> int:
    if isinstance(plan, list):
        return sum(map(_rows, plan))
    node = plan.get("Plan", plan)
    passed_over = sum(value for key, value in node.items() if key.startswith("Rows Removed by"))
    read = node["Actual Rows"] + passed_over if "Scan" in node["Node Type"] else 0
    return int(read * node["Actual Loops"]) + _rows(node.get("Plans", []))


def test_a_page_reads_few_rows_and_is_small_however_many_accounts_there_are(
    desk: ConsoleDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = desk.portal.database.engine
    for shared in (desk.context.overview, desk.context.forecast):  # count everybody, once for all
        shown = shared.show(Actor("ada", frozenset(Role)))
        monkeypatch.setattr(shared, "show", lambda _actor, shown=shown, **_age: shown)
    much: dict[str, int] = {}
    with desk.browser("operator", "support", "viewer") as browser:
        for name, path in PAGES.items():
            with statements(engine) as asked:
                page = browser.get(path.format(complete=number_of(1)))
            assert page.status_code == 200, name
            assert len(page.content) < BYTES_MAX, name
            much[name] = rows_read(engine, asked)
    waiting = much.pop("waiting-by-cohort")  # counts all who wait, and never everybody
    assert waiting < ACCOUNTS
    assert {name: rows for name, rows in much.items() if rows > ROWS_MAX} == {}
    assert much["person"] > 0


def test_persons_whom_programs_sent_are_listed_by_the_page(desk: ConsoleDesk) -> None:
    path = "/console/imports?personnes=oui"
    engine = desk.portal.database.engine
    with desk.browser("registrar") as browser:
        assert "person.jsonl" not in browser.get("/console/imports").text
        with statements(engine) as asked:
            shown = [browser.get(path + more).text for more in ("", f"&apres={ACCOUNTS // 2}")]
    assert ["person.jsonl" in text for text in shown] == [True, True]
    assert rows_read(engine, asked) < ROWS_MAX


def test_rows_that_are_read_are_counted(desk: ConsoleDesk) -> None:
    assert rows_read(desk.portal.database.engine, [("SELECT count(*) FROM accounts", {})]) > ACCOUNTS
