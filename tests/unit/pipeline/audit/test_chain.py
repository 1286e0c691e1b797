"""The audit is evidence: whoever changes, removes or puts in an entry breaks a chain, and that is shown."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from pipeline import audit
from pipeline.audit import trail, verification
from pipeline.audit.trail import audit as table
from pipeline.audit.trail import audit_persons
from pipeline.audit.verification import verify
from pipeline.db.database import Database
from pipeline.db.persons import Forgetting, ForgottenRows
from sesame.testing.servers.database_kit import in_processes

LEA, PAUL = "22001234", "22005678"


def note(database: Database, action: str = "hold.place", **detail: object) -> None:
    with database.write() as connection:
        audit.note(connection, database, actor="camille", action=action, detail=detail)


@pytest.fixture
def noted(database: Database) -> Database:
    """Six entries, by ids from 1 on."""
    for index in range(5):
        note(database, student_number=LEA, hold="suspended", index=index)
    note(database, "activate", student_numbers=[LEA, PAUL], students=2)
    return database


def tamper(database: Database, *statements: str, **values: object) -> None:
    """Do what somebody does who may write the database, and has taken the guards away."""
    with database.write() as connection:
        if database.is_sqlite:
            for trigger in ("audit_no_update", "audit_no_delete"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS {trigger}"))
        else:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        for statement in statements:
            connection.execute(text(statement), values)
        if not database.is_sqlite:
            connection.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))


def breaks(database: Database, **options: Any) -> list[tuple[int, str]]:
    return [(each.entry_id, each.kind) for each in verify(database, **options).breaks]


def rows(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)).all())


def computed(row: Any, **changes: object) -> str:
    """An entry's hash, as the decision record writes it down, by nothing of the product."""
    at = datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    document = {"id": row.id, "at": at, "actor": row.actor, "action": row.action}
    document |= {"detail": json.loads(row.detail), "previous": row.previous} | changes
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def test_each_entry_has_the_hash_of_the_one_before_and_its_own(noted: Database) -> None:
    previous = "0" * 64
    for row in rows(noted):
        assert (row.previous, row.hash) == (previous, computed(row))
        previous = row.hash
    found = verify(noted, head=previous)
    assert (found.breaks, found.entries, found.first_id, found.head.hash) == ([], 6, 1, previous)
    assert LEA not in "".join(row.detail for row in rows(noted))


def test_an_entry_is_neither_changed_nor_removed_by_the_way(noted: Database) -> None:
    for statement in ("UPDATE audit SET actor = 'mallory'", "DELETE FROM audit WHERE id = 6"):
        with pytest.raises(DBAPIError, match="only appended"), noted.write() as connection:
            connection.execute(text(statement))
    assert breaks(noted) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit SET actor = 'mallory' WHERE id = 3", [(3, "changed")]),
        ("UPDATE audit SET at = at + 60 WHERE id = 1", [(1, "changed")]),
        ("UPDATE audit SET detail = 'no JSON' WHERE id = 2", [(2, "changed"), (2, "person_gone")]),
        ("DELETE FROM audit WHERE id = 3", [(4, "gone")]),
        ("DELETE FROM audit WHERE id < 3", [(3, "gone")]),
        ("DELETE FROM audit WHERE id > 4", [(6, "cut")]),
        ("DELETE FROM audit", [(6, "cut")]),
        ("DELETE FROM audit_marks", [(0, "cut")]),
        ("UPDATE audit_persons SET student_number = '1' WHERE entry_id = 2", [(2, "person_changed")]),
        ("DELETE FROM audit_persons WHERE entry_id = 2", [(2, "person_gone")]),
        ("INSERT INTO audit_persons VALUES (3, 'x', '22005678', NULL)", [(3, "person_gone")]),
    ],
)
def test_what_was_done_to_the_audit_is_shown_where_it_was_done(
    noted: Database, statement: str, found: list[tuple[int, str]]
) -> None:
    tamper(noted, statement)
    assert breaks(noted) == found


def test_an_entry_that_was_changed_with_its_hash_does_not_fit_the_next_one(noted: Database) -> None:
    third = rows(noted)[2]
    forged = computed(third, actor="mallory")
    tamper(noted, "UPDATE audit SET actor = 'mallory', hash = :forged WHERE id = 3", forged=forged)
    assert breaks(noted) == [(3, "replaced")]


def test_a_chain_that_was_written_anew_is_shown_by_a_hash_that_was_kept_elsewhere(noted: Database) -> None:
    kept = rows(noted)[-1].hash
    tamper(noted, "DELETE FROM audit WHERE id > 3", "DELETE FROM audit_persons WHERE entry_id > 3")
    third = rows(noted)[-1]
    tamper(noted, "UPDATE audit_marks SET entry_id = 3, hash = :hash, at = :at", hash=third.hash, at=third.at)
    assert breaks(noted) == [], "a chain alone cannot show that its end was cut with its mark"
    assert breaks(noted, head=kept) == [(3, "head_gone")]
    assert breaks(noted, head=third.hash) == []


def test_a_person_goes_and_the_chain_and_the_counts_still_hold(noted: Database) -> None:
    with noted.write() as connection:
        person = Forgetting(LEA, "erased:1", (LEA,), hashed=str.upper)
        assert trail.forget(connection, noted, person) == ForgottenRows(kept=6)
    found = verify(noted)
    assert (found.breaks, found.entries, found.forgotten) == ([], 6, 6)
    with noted.read() as connection:
        assert audit.entries(connection, student=LEA, limit=9) == []
        assert len(audit.entries(connection, student="erased:1", limit=9)) == 6
        [newest] = audit.entries(connection, student=PAUL, limit=9)
        left = connection.execute(select(audit_persons.c.salt).where(audit_persons.c.entry_id == 6))
        assert list(left.scalars()).count(None) == 1
    assert newest.detail == {"student_numbers": ["erased:1", PAUL], "students": 2}


def _note_many(results: Any, url: str, name: str) -> None:
    with closing(Database(url)) as database:
        for index in range(20):
            note(database, name, student_number=LEA, index=index)
    results.put(name)


def test_several_processes_that_note_at_once_make_one_chain(database: Database, store_url: str) -> None:
    in_processes(_note_many, [(store_url, name) for name in "abc"])
    assert [row.id for row in rows(database)] == list(range(1, 61))
    assert breaks(database) == []


def test_very_many_breaks_are_counted(noted: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BREAKS_MAX", 2)
    monkeypatch.setattr(verification, "ENTRIES_PER_STEP", 2)
    tamper(noted, "UPDATE audit SET actor = 'mallory'")
    found = verify(noted)
    assert ([each.entry_id for each in found.breaks], found.beyond) == ([1, 2], 4)
