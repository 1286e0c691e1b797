"""A file is sealed and opened again: every value as it was, but for those of whom the key was destroyed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.person_keys import PersonKeys
from sesame.operations.keeping.backup.sealing import Identifier, Owned, seal_file, unseal_file

LEA, PAUL, ERASED = "22001234", "22005678", "erased-abc"
TABLES = (
    Owned("people", ("number",)),
    Owned("doubts", ("number", "other")),
    Owned("notes", ("number",), named_in=("words",)),
    Owned("reports", (), named_in=("words",)),
    Owned("entries", ("number",), {"salt": None}),
    Owned("not_there", ("number",)),
)
IDENTIFIERS = (Identifier("people", "number", "number"), Identifier("people", "mail", "number"))
SCHEMA = """
CREATE TABLE people (number TEXT PRIMARY KEY, mail TEXT, born REAL, count INTEGER, sealed BLOB);
CREATE TABLE doubts (number TEXT, other TEXT);
CREATE TABLE notes (id INTEGER PRIMARY KEY, number TEXT, words TEXT);
CREATE TABLE reports (words TEXT);
CREATE TABLE entries (id INTEGER PRIMARY KEY, number TEXT, salt TEXT);
CREATE TABLE counts (day INTEGER);
CREATE INDEX notes_number ON notes (number);
CREATE TRIGGER entries_stay BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries stay'); END;
"""


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    path = tmp_path / "clear.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA)
        people = [
            (LEA, "Lea@etu.example", 1.1, None, b"\xff\x00"),
            (PAUL, None, None, 2**62, b"text"),
            ("22009999", "nina@etu.example", -0.0, 0, b""),
        ]
        db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", people)
        db.executemany("INSERT INTO doubts VALUES (?, ?)", [(LEA, PAUL), (PAUL, None), (ERASED, "22009999")])
        notes = [
            (1, PAUL, f"as {LEA}."),
            (2, PAUL, "wrote to lea@ETU.example, twice"),
            (3, PAUL, f"x{LEA}, or {LEA}0"),
            (4, None, "of nobody"),
            *((n, PAUL, f"note {n}") for n in range(5, 1_300)),
        ]
        db.executemany("INSERT INTO notes VALUES (?, ?, ?)", notes)
        db.executemany("INSERT INTO reports VALUES (?)", [("all is well",), (f'["{LEA}", "{PAUL}"]',)])
        db.executemany("INSERT INTO entries VALUES (?, ?, ?)", [(1, LEA, "s1"), (2, PAUL, "s2")])
        db.execute("INSERT INTO counts VALUES (7)")
    return path


@pytest.fixture
def keys(tmp_path: Path) -> PersonKeys:
    return PersonKeys(tmp_path / "person-keys.db")


def about(position: int, ids: str) -> bytes:
    return f"{position}/{ids}".encode()


def rows(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: sorted(map(repr, db.execute(f"SELECT * FROM {name}"))) for name in names}  # noqa: S608


def sealed(clear: Path, keys: PersonKeys) -> tuple[Path, int]:
    made = clear.with_name("sealed.db")
    return made, seal_file(clear, made, TABLES, keys, about, IDENTIFIERS)


def test_every_value_comes_back_as_it_was(clear: Path, keys: PersonKeys) -> None:
    before = rows(clear)
    made, values = sealed(clear, keys)
    content = made.read_bytes()
    hidden = (LEA, PAUL, "lea@etu.example", "Lea@etu.example", "of nobody", "all is well", ERASED)
    assert [each for each in hidden if each.encode() in content] == []
    assert rows(made)["counts"] == ["(7,)"]
    assert unseal_file(made, keys, about, values=values) == set()
    assert rows(made) == before
    with closing(sqlite3.connect(made)) as db, pytest.raises(sqlite3.IntegrityError, match="entries stay"):
        db.execute("DELETE FROM entries")


def test_who_was_destroyed_is_in_no_row_nor_in_a_text_about_somebody_else(
    clear: Path, keys: PersonKeys
) -> None:
    before = rows(clear)
    made, values = sealed(clear, keys)
    keys.destroy(LEA, pseudonym=ERASED, kept={})
    assert len(unseal_file(made, keys, about, values=values)) == 1
    after = rows(made)
    gone = {name: sorted(set(before[name]) - set(after[name])) for name in before}
    assert [len(gone[name]) for name in ("people", "doubts", "reports", "counts")] == [1, 1, 1, 0]
    assert gone["notes"] == sorted(
        [f"(1, '{PAUL}', 'as {LEA}.')", f"(2, '{PAUL}', 'wrote to lea@ETU.example, twice')"]
    ), "a number within another word is not theirs"
    assert after["entries"] == [f"(1, '{ERASED}', None)", f"(2, '{PAUL}', 's2')"]


def test_keys_made_anew_do_not_open_it(clear: Path, keys: PersonKeys, tmp_path: Path) -> None:
    made, values = sealed(clear, keys)
    others = PersonKeys(tmp_path / "others.db")
    others.of(_everybody())
    with pytest.raises(Exception, match=r"not what was sealed|are not in"):
        unseal_file(made, others, about, values=values)


def _everybody() -> Sequence[str]:
    return ["", LEA, PAUL, "22009999"]
