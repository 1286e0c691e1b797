"""What grows is removed when its time is over, and nothing else is: no table is without a policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import func, insert, select

from consumers.propagation.times import propagation_times
from consumers.registry.people import people
from pipeline import attempts, audit, replays
from pipeline.audit.trail import audit as audit_table
from pipeline.audit.trail import audit_persons, remarks
from pipeline.audit.verification import verify
from pipeline.db.database import Database
from pipeline.lost_records import lost_records
from pipeline.vault import vault
from producers.activation.throttles import throttles
from producers.registrar.feed_memory import feed_rows
from producers.registrar.import_runs import imports
from sesame.app import retention
from sesame.app.housekeeping import Housekeeping
from sesame.app.tables import metadata
from sesame.app.wiring import Application
from sesame.operations.keeping.audit_archive import archive
from sesame.pages import FOLDER
from sesame.settings import load

DAY = 86_400.0
NOW = 2_000_000_000.0
OLD, NEW = NOW - 400 * DAY, NOW - 3 * DAY
LIMIT = NOW - 180 * DAY


def prune(database: Database) -> dict[str, int]:
    with database.write() as connection:
        return retention.prune(connection, now=NOW, history_before=LIMIT, audit_before=LIMIT)


def keys(database: Database, column: object) -> list[object]:
    with database.read() as connection:
        return sorted(connection.execute(select(column)).scalars())  # type: ignore[call-overload]


def put(database: Database, table: object, *rows: dict[str, object]) -> None:
    with database.write() as connection:
        connection.execute(insert(table), list(rows))  # type: ignore[arg-type]


def test_every_table_has_a_policy_and_the_page_says_it() -> None:
    assert set(retention.KEPT) == set(metadata.tables)
    page = (FOLDER / "retention.md").read_text(encoding="utf-8")
    assert [table for table in metadata.tables if f"| `{table}` |" not in page] == []


def test_old_replays_go_with_their_students_one_at_a_time(database: Database) -> None:
    with database.write() as connection:
        for name, begun_at in (("older", OLD - 1), ("old", OLD), ("new", NEW)):
            replay = replays.Replay(name, "moodle", "bulk", "camille", "ref", begun_at, 2)
            replays.begin(connection, replay, ["A", "B"])
    assert prune(database) == {"replays": 1}
    assert keys(database, replays.replays.c.id) == ["new", "old"]
    assert prune(database) == {"replays": 1}
    assert prune(database) == {}
    assert keys(database, replays.replay_students.c.replay_id) == ["new", "new"]


def test_old_attempts_go_some_at_a_time_the_oldest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_PER_PRUNE", 2)
    one = {"student_number": "A", "target": "moodle", "version": 1, "attempt": 1, "ended": "written"}
    put(database, attempts.attempts, *(one | {"event_id": "e", "at": at} for at in (OLD, OLD, OLD, NEW, NEW)))
    left = []
    while prune(database):
        left.append(keys(database, attempts.attempts.c.at))
    assert left == [[OLD, NEW, NEW], [NEW, NEW]]


def test_an_import_stays_while_a_row_refers_to_it_and_the_newest_stays(database: Database) -> None:
    runs = [(1, OLD), (2, OLD), (3, NEW), (4, OLD)]  # the clock was set back before the last one
    put(database, imports, *({"id": i, "source": "a", "file_name": "f", "started_at": at} for i, at in runs))
    fact = {"source": "a", "student_number": "A", "year": 2026, "step": "s", "step_version": "1"}
    put(database, feed_rows, fact | {"fingerprint": "x", "sequence": 1, "base": 0, "import_id": 2})
    assert prune(database) == {"imports": 1}
    assert keys(database, imports.c.id) == [2, 3, 4]


def test_of_tombstones_the_newest_stays_and_no_secret_is_touched(database: Database) -> None:
    def row(ref: str, purpose: str, consumed_at: float | None) -> dict[str, object]:
        sealed = None if consumed_at else b"secret"
        both = {"student_number": "A", "created_at": OLD, "sealed": sealed, "consumed_at": consumed_at}
        return both | {"ref": ref, "purpose": purpose}

    put(
        database,
        vault,
        row("over", "password", OLD),
        row("fresh", "password", NEW),
        row("last", "password", OLD),
        row("only", "redirect", OLD),
        row("waiting", "name", None),
        row("follows", "name", OLD),
    )
    assert prune(database) == {"vault": 1}
    assert keys(database, vault.c.ref) == ["follows", "fresh", "last", "only", "waiting"]


def test_a_reason_goes_with_the_audit_unless_the_hold_is_in_force(database: Database) -> None:
    for number, holds in (("HELD", '["suspended"]'), ("FREE", "[]")):
        put(
            database,
            people,
            {"student_number": number, "identity": "{}", "identity_sequence": 1, "holds": holds},
        )
    said: list[tuple[str, str | None, float]] = [
        ("held", "HELD", OLD),
        ("free", "FREE", OLD),
        ("many", None, OLD),
        ("new", "FREE", NEW),
    ]
    put(
        database,
        remarks,
        *[
            dict[str, object](ref=r, student_number=n, at=at, action="a", about="", actor="c", words="w")
            for r, n, at in said
        ],
    )
    assert prune(database) == {"remarks": 2}
    assert keys(database, remarks.c.ref) == ["held", "new"]


def test_what_has_expired_or_was_accepted_goes(database: Database) -> None:
    put(database, throttles, {"name": "t-old", "until": NOW - 1}, {"name": "t-new", "until": NOW + 1})
    loss = {"consumer": "registry", "topic": "t", "partition": 0, "first": 1, "noticed_at": OLD}
    put(
        database,
        lost_records,
        loss | {"offset": 1, "accepted_at": OLD},
        loss | {"offset": 2, "accepted_at": NEW},
        loss | {"offset": 3, "accepted_at": None},
    )
    assert prune(database) == {"lost_records": 1, "throttles": 1}
    assert keys(database, lost_records.c.offset) == [2, 3]


# --- the audit ------------------------------------------------------------------------------------


@pytest.fixture
def noted(database: Database) -> Database:
    acts = [("hold.place", OLD), ("replay", OLD + 300 * DAY), ("hold.lift", OLD + 1), ("import", NEW)]
    for action, at in acts:
        note(database, action, at)
    return database


def note(database: Database, action: str, at: float) -> None:
    """Note an act of then."""
    then = Mock(wraps=database)
    then.now = lambda _connection: at
    with database.write() as connection:
        audit.note(connection, then, actor="camille", action=action, detail={"é": 1, "student_number": "A"})


def lines(folder: Path) -> dict[str, list[tuple[int, str]]]:
    return {
        path.name: [
            (one["id"], one["action"]) for one in map(json.loads, path.read_text("utf-8").splitlines())
        ]
        for path in sorted(folder.iterdir())
    }


def test_the_audit_is_moved_to_a_file_of_its_year_that_others_cannot_read(
    noted: Database, tmp_path: Path
) -> None:
    assert archive(noted, tmp_path / "audit", before=NEW) == 3
    assert archive(noted, tmp_path / "audit", before=NEW) == 0
    assert lines(tmp_path / "audit") == {
        "audit-2032.jsonl": [(1, "hold.place"), (3, "hold.lift")],
        "audit-2033.jsonl": [(2, "replay")],
    }
    assert keys(noted, audit_table.c.action) == ["import"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "audit").iterdir()} == {0o600}
    found = verify(noted)
    assert (found.breaks, found.entries, found.removed.entry_id) == ([], 1, 3)
    assert keys(noted, audit_persons.c.entry_id) == [4]


def test_an_entry_behind_a_newer_one_waits_for_it(noted: Database, tmp_path: Path) -> None:
    note(noted, "replay", OLD)  # the clock was set back
    assert archive(noted, tmp_path / "audit", before=NEW) == 3
    assert keys(noted, audit_table.c.id) == [4, 5]
    assert archive(noted, tmp_path / "audit", before=NEW + 1) == 2
    found = verify(noted)
    assert (found.breaks, found.entries, found.removed.entry_id) == ([], 0, 5)
    note(noted, "import", NEW)
    assert (verify(noted).breaks, verify(noted).first_id) == ([], 6)


def test_the_chain_of_the_archive_is_computed_again_by_anybody(noted: Database, tmp_path: Path) -> None:
    archive(noted, tmp_path / "audit", before=NEW)
    lines = [line for path in (tmp_path / "audit").iterdir() for line in path.read_text("utf-8").splitlines()]
    previous = "0" * 64
    for one in sorted(map(json.loads, lines), key=lambda one: one["id"]):
        own, persons = one.pop("hash"), one.pop("persons")
        text = json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert own == hashlib.sha256(text.encode()).hexdigest()
        assert one["previous"] == previous
        previous = own
        [(digest, person)] = persons.items()
        assert one["detail"]["student_number"] == f"person:{digest}"
        assert digest == hashlib.sha256((person["salt"] + person["student_number"]).encode()).hexdigest()


def test_what_was_not_written_is_not_removed(
    noted: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        archive(noted, tmp_path / "audit", before=NEW)
    assert len(keys(noted, audit_table.c.id)) == 4


def test_a_line_that_a_crash_cut_short_is_written_again(noted: Database, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    (folder / "audit-2032.jsonl").write_bytes(b'{"id": 0, "action": "import"}\n{"id": 1, "act')
    archive(noted, folder, before=OLD + DAY)
    assert lines(folder)["audit-2032.jsonl"] == [(0, "import"), (1, "hold.place")]


# --- the chore ------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Application]:
    path = tmp_path / "sesame.toml"
    path.write_text(
        f'data_dir = "{tmp_path}"\n[store]\nhistory_days = 10\naudit_days = 30\n', encoding="utf-8"
    )
    application = Application(load(path))
    yield application
    application.close()


def do(site: Application, name: str) -> None:
    housekeeping = Housekeeping(
        site, ["registry"], on_trouble=lambda chore, why: pytest.fail(f"{chore}: {why}")
    )
    [chore] = [each for each in housekeeping.chores if each.name == name]
    chore.do()


def test_times_of_days_past_are_added_up_by_month(site: Application) -> None:
    with site.database.read() as connection:
        now = site.database.now(connection)
    of = {"start": "activation", "kind": "all", "name": "", "bucket": 100, "students": 2}
    for ago in (0, 26 * 3600, 27 * 3600):
        put(site.database, propagation_times, of | {"begins": (int(now) - ago) // 300 * 300})
    do(site, "times")
    with site.database.read() as connection:
        rows = connection.execute(select(propagation_times).order_by(propagation_times.c.begins)).all()
    assert sum(row.students for row in rows) == 6
    assert rows[-1].begins == int(now) // 300 * 300
    assert all(datetime.fromtimestamp(row.begins, UTC).day == 1 for row in rows[:-1])


def test_the_process_of_the_registry_does_it_however_much_there_is(site: Application, tmp_path: Path) -> None:
    database = site.database
    with database.write() as connection:
        now = database.now(connection)
        for day in range(40):
            replay = replays.Replay(f"r{day}", "moodle", "bulk", "c", "ref", now - (day + 0.5) * DAY, 1)
            replays.begin(connection, replay, ["A"])
    for day in reversed(range(40)):
        note(database, "x", now - (day + 0.5) * DAY)
    do(site, "retention")
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(replays.replays)).scalar_one() == 10
        assert len(audit.entries(connection, limit=100)) == 30
    assert sum(map(len, lines(tmp_path / "audit").values())) == 10
