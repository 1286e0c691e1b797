"""What the commands that only look show of many: a page at a time, and how to see the next one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.store import dead_letters, migrate
from pipeline.store.database import Database
from pipeline.store.dead_letters import DeadLetter
from sesame.cli import main
from tests.unit.store_kit import START


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Database]:
    """The store of the settings that the commands find."""
    for name in [name for name in os.environ if name.upper().startswith("SESAME_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "sesame.toml").write_text('data_dir = "data"\n', encoding="utf-8")
    with closing(Database(f"sqlite:///{tmp_path / 'data' / 'sesame.db'}")) as database:
        migrate.upgrade(database)
        yield database


def sesame(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="sesame")


def give_up(store: Database, letters: int) -> list[str]:
    """Dead letters, the oldest first; their ids."""
    ids = [f"{number:03}{'f' * 61}" for number in range(letters)]
    with store.write() as connection:
        for number, name in enumerate(ids):
            one = DeadLetter(name, "moodle", str(number), 1, "moodle_rejected", "no", 1, START + number)
            dead_letters.record(connection, store, one)
    return ids


def test_dead_letters_are_shown_a_page_at_a_time(store: Database) -> None:
    ids = give_up(store, 120)
    shown, command = [], ["dead-letters", "list"]
    while True:
        result = sesame(*command)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()[1:]
        assert len(lines) <= 50
        shown += [line.split()[0] for line in lines]
        assert "moodle moodle_rejected: 120" in result.stderr
        _, found, after = result.stderr.partition("There are more: add ")
        if not found:
            break
        command = ["dead-letters", "list", *after.split()]
    assert shown == [one[:12] for one in ids]
    assert "No unresolved dead letters follow" in sesame("dead-letters", "list", "--after", ids[-1]).stderr


def test_all_dead_letters_are_one_json_list_and_a_limit_makes_it_short(store: Database) -> None:
    assert json.loads(sesame("dead-letters", "list", "--json").stdout) == []
    ids = give_up(store, 7)
    assert [one["id"] for one in json.loads(sesame("dead-letters", "list", "--json").stdout)] == ids
    page = sesame("dead-letters", "list", "--json", "--limit", "2", "--after", ids[2]).stdout
    assert [one["id"] for one in json.loads(page)] == ids[3:5]


def test_a_page_after_nothing_is_refused(store: Database) -> None:
    give_up(store, 1)
    result = sesame("dead-letters", "list", "--after", "abc")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no dead letter 'abc'" in result.stderr
