"""One student's rows and entries, copied for many others, without our code.

The student went the usual way; each copy has another number and another login.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.adopt_population import load_directory, slapd_tool
from sandbox.moodle import MoodleStandIn
from sandbox.moodle.storage import insert_user
from sandbox.slapd import Slapd

_SERVERS_OWN: Final = ("structuralObjectClass", "entryUUID", "entryCSN", "creatorsName", "createTimestamp")


class Copies:
    """The first student, and its copies."""

    def __init__(self, number: str, login: str) -> None:
        self._first = (number, login)

    def number(self, at: int) -> str:
        """The student number at this place."""
        return self._first[0] if at == 0 else f"{30_000_000 + at}"

    def login(self, at: int) -> str:
        """The login at this place."""
        return self._first[1] if at == 0 else f"copie.{at:06}"

    def of(self, text: str, at: int) -> str:
        """A text about the first student, as it would name this one."""
        return text.replace(self._first[0], self.number(at)).replace(self._first[1], self.login(at))


def fill_store(file: Path, copies: Copies, accounts: int) -> None:
    """Give a store the first student's copies, with their outcomes."""
    with closing(sqlite3.connect(file)) as db, db:
        for table in ("accounts", "target_states", "attempts"):
            found = db.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608  (one of three)
            names = [column[0] for column in found.description if column[0] != "id"]
            kept = ", ".join(names)
            marks = ", ".join("?" * len(names))
            for first in db.execute(f"SELECT {kept} FROM {table}").fetchall():  # noqa: S608
                db.executemany(
                    f"INSERT INTO {table} ({kept}) VALUES ({marks})",  # noqa: S608
                    (
                        [copies.of(value, at) if isinstance(value, str) else value for value in first]
                        for at in range(1, accounts)
                    ),
                )


def fill_directory(slapd: Slapd, copies: Copies, accounts: int) -> None:
    """Give a directory the copies; the server is started anew."""
    slapd.stop()
    entry = entry_of(slapd, copies)
    load_directory(slapd, (ldif([copies.of(line, at) for line in entry]) for at in range(1, accounts)))


def fill_moodle(site: MoodleStandIn, copies: Copies, accounts: int) -> None:
    """Give a site the copies."""
    with closing(sqlite3.connect(site.data_file)) as db, db:
        insert = insertion(db, copies)
        for at in range(1, accounts):
            insert(at)


def entry_of(slapd: Slapd, copies: Copies) -> list[str]:
    """The first student's entry, as lines without what the server adds; the server is stopped."""
    found = slapd_tool(slapd, "cat", "-a", f"(supannEtuId={copies.number(0)})")
    return [line for line in _lines(found) if line and line.partition(":")[0] not in _SERVERS_OWN]


def _lines(text: str) -> list[str]:
    """Unfolded LDIF lines, with text decoded from base64 (RFC 2849)."""
    lines = []
    for line in re.sub(r"\n ", "", text).splitlines():
        name, double, value = line.partition(":: ")
        encoded = double and ":" not in name and name != "userPassword"
        lines.append(f"{name}: {base64.b64decode(value).decode()}" if encoded else line)
    return lines


def ldif(lines: Sequence[str]) -> str:
    """An entry as LDIF (RFC 2849)."""
    made = []
    for line in lines:
        name, _, value = line.partition(": ")
        plain = line.isascii() or name.endswith(":")
        made.append(line if plain else f"{name}:: {base64.b64encode(value.encode()).decode()}")
    return "\n".join(made) + "\n\n"


def insertion(db: sqlite3.Connection, copies: Copies) -> Callable[..., None]:
    """What gives a site the copy at a place, with its cohorts and with these columns changed."""
    db.row_factory = sqlite3.Row
    first = dict(db.execute("SELECT * FROM users WHERE idnumber = ?", (copies.number(0),)).fetchone())
    cohorts = db.execute(
        "SELECT cohortid, timeadded FROM cohort_members WHERE userid = ?", (first.pop("id"),)
    ).fetchall()
    columns = {name: value for name, value in first.items() if not name.endswith("_key")}

    def insert(at: int, **changed: str) -> None:
        user = {n: copies.of(v, at) if isinstance(v, str) else v for n, v in columns.items()}
        user_id = insert_user(db, {**user, **changed})
        db.executemany(
            "INSERT INTO cohort_members VALUES (?, ?, ?)",
            [(cohort, user_id, added) for cohort, added in map(tuple, cohorts)],
        )

    return insert
