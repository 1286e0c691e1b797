"""A person is forgotten as each table declares it, and nobody else is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table, insert, select

from pipeline.audit.trail import remarks
from pipeline.db.database import Database
from pipeline.db.metadata import metadata
from pipeline.db.persons import Forgetting, ForgottenRows, forget
from pipeline.quarantine import quarantines
from pipeline.replays import replay_students
from pipeline.timers import timers

LEA, PAUL = "22600001", "122600001"
PERSON = Forgetting(LEA, "erased-x", (LEA, "lea.martin", "lea.martin@univ.fr"), hashed=str.upper)


def put(database: Database, table: Table, *rows: dict[str, object]) -> None:
    with database.write() as connection:
        connection.execute(insert(table), list(rows))


def column(database: Database, table: Table, name: str) -> Sequence[object]:
    with database.read() as connection:
        return list(connection.scalars(select(table.c[name]).order_by(*table.primary_key.columns)))


def forgotten(database: Database) -> dict[str, ForgottenRows]:
    with database.write() as connection:
        return forget(connection, database, metadata, PERSON)


def test_rows_go_or_stay_under_the_pseudonym(database: Database) -> None:
    put(database, timers, *({"kind": "x", "student_number": each, "due_at": 1.0} for each in (LEA, PAUL)))
    places = [{"replay_id": "r", "position": at, "student_number": n} for at, n in enumerate((LEA, PAUL))]
    put(database, replay_students, *places)
    done = forgotten(database)
    assert (done["timers"], done["replay_students"]) == (ForgottenRows(removed=1), ForgottenRows(kept=1))
    assert column(database, timers, "student_number") == [PAUL]
    assert column(database, replay_students, "student_number") == ["erased-x", PAUL]


def test_others_texts_lose_whole_words_only(database: Database) -> None:
    words = f"{PAUL} is not {LEA}: Lea.Martin@univ.fr, not lea.martin2 nor a.lea.martin; see lea.martin."
    row = {"ref": "1", "action": "x", "about": LEA, "student_number": PAUL, "actor": "c", "at": 1.0}
    put(database, remarks, row | {"words": words}, row | {"ref": "2", "student_number": LEA, "words": "ill"})
    put(database, quarantines, {"consumer": "directory", "reason": f"uid={LEA},ou=people", "since": 1.0})
    done = forgotten(database)
    assert done["remarks"] == ForgottenRows(removed=1, kept=2)  # two columns of one row
    said = f"{PAUL} is not erased-x: erased-x, not lea.martin2 nor a.lea.martin; see erased-x."
    assert column(database, remarks, "words") == [said]
    assert column(database, remarks, "about") == ["erased-x"]
    assert column(database, quarantines, "reason") == ["uid=erased-x,ou=people"]


def test_forgetting_again_changes_nothing(database: Database) -> None:
    put(database, timers, {"kind": "x", "student_number": LEA, "due_at": 1.0})
    forgotten(database)
    assert set(forgotten(database).values()) == {ForgottenRows()}
