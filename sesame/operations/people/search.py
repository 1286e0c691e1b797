"""Find students by a number, a login, a mail address, or a name."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from pydantic import Field
from sqlalchemy import Connection, func, or_, select

from consumers.registry.identity import LOGIN, MAIL, SHORT_LOGIN
from consumers.registry.ledger import SqlLedger
from consumers.registry.people import People, people
from pipeline import accounts
from pipeline.db.database import Database
from sesame.acts.acts import DESK, Actor, ActPath, ActRequest, Report, act, shown
from sesame.acts.ports import Stored
from sesame.operations.people.known_persons import Side, side

FOUND_MAX: Final = 20
WORDS_MAX: Final = 6
_FIRST_MIN: Final = 3
"""Minimum length of the beginning of a number or a login."""

_PAGE: Final = 500


class Search(ActRequest):
    """A student's number or login, or its beginning; a mail address; or names."""

    text: str = Field(max_length=200)


class Found(Report):
    """The matching students, with names: at most `FOUND_MAX`. `more`: there are others."""

    students: Sequence[Side]
    more: bool


@act(
    "students.search",
    DESK,
    path=ActPath("search_students", "POST", "/students/search"),
    shows=lambda found, _request: shown(one.student_number for one in found.students),
)
def search(site: Stored, _actor: Actor, request: Search) -> Found:
    """Find students; an exact number, login or address gives its one holder alone.

    A search by name compares every person that the registrar has sent: the fewer match, the more are read.
    """
    text = " ".join(unicodedata.normalize("NFC", request.text).split())
    database = site.database
    with database.read() as connection:
        numbers = holders_of(connection, database, [text]) if text else {}
        others = {} if numbers else People(database).known_among(connection, _spellings(text))
        found = (
            list(numbers.values() or others)
            or _at_home(connection, text)
            or _beginning(connection, text)
            or _named(connection, text)
        )
        known = People(database).known_among(connection, found[:FOUND_MAX])
        sides = [side(connection, database, known[number]) for number in found[:FOUND_MAX] if number in known]
    return Found(students=sides, more=len(found) > FOUND_MAX)


def holders_of(connection: Connection, database: Database, names: Sequence[str]) -> dict[str, str]:
    """Student numbers by name, for names that are a number, a login or a mail address."""
    known = People(database).known_among(connection, names)
    others = [name for name in names if name not in known]
    wanted = [(kind, name.lower()) for name in others for kind in (LOGIN, SHORT_LOGIN, MAIL)]
    holders = SqlLedger(connection, database, 0.0).holders(wanted)
    held = {value: holder.student_number for (_, value), holder in holders.items() if holder.student_number}
    theirs = {name: held[name.lower()] for name in others if name.lower() in held}
    return {**{number: number for number in known}, **theirs}


def _spellings(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((text, text.upper(), text.lower())))


def _beginning(connection: Connection, text: str) -> list[str]:
    """Students whose number or login begins with this text."""
    if len(text) < _FIRST_MIN or " " in text:
        return []
    found: dict[str, None] = {}
    for column in (people.c.student_number, accounts.accounts.c.login):
        begins = _spellings(text) if column is people.c.student_number else (text.lower(),)
        of_these = or_(*((column >= first) & (column < first + "\uffff") for first in begins))
        query = select(column.table.c.student_number).where(of_these)
        found |= dict.fromkeys(connection.execute(query.order_by(column).limit(FOUND_MAX + 1)).scalars())
    return list(found)


def _named(connection: Connection, text: str) -> list[str]:
    """Students whose names or birth date contain all words, whatever their accents.

    The database chooses rows that may match, and the rest is compared here, a page at a time. PostgreSQL's
    index of trigrams serves words that were typed without the accents of Latin-1; others have to be typed.
    """
    typed = [word.lower() for word in text.split() if any(map(str.isalnum, word))][:WORDS_MAX]
    if not typed:
        return []
    names, words = people.c.identity, [folded(word) for word in typed]
    if connection.dialect.name == "postgresql":
        coarse = [names.regexp_match("".join(map(_spelt, word)), flags="i") for word in typed]
    else:
        coarse = [names.ilike(f"%{''.join(map(_any, word))}%", escape="\\") for word in words]
    query = select(people.c.student_number, names).where(*coarse).limit(_PAGE)
    found: list[str] = []
    last: str | None = ""
    while last is not None and len(found) <= FOUND_MAX:
        page = query.where(people.c.student_number > last).order_by(people.c.student_number)
        rows = connection.execute(page).all()
        for row in rows:
            of_row = folded(" ".join(str(each) for each in json.loads(row.identity).values() if each))
            found += [row.student_number] if all(word in of_row for word in words) else []
        last = rows[-1].student_number if len(rows) == _PAGE else None
    return found[: FOUND_MAX + 1]


def _any(c: str) -> str:
    """For LIKE: any character, where the letter may have an accent or is written in many ways."""
    return "_" if c in _forms() or not (c.isascii() and c.isalnum()) else c


def _spelt(c: str) -> str:
    """For a regular expression: the letter in all of its forms, or any character for one of no known form."""
    forms = _forms().get(folded(c), "")
    return forms if c in forms else c if c.isascii() and c.isalnum() else "."


@cache
def _forms() -> Mapping[str, str]:
    """Each letter that has accents in Latin-1, with all of its forms."""
    forms: dict[str, str] = {}
    for c in map(chr, range(0xE0, 0x100)):
        base = folded(c)
        if base != c and len(base) == 1 and base.isascii():
            forms[base] = forms.get(base, base) + c
    return {base: f"[{found}]" for base, found in forms.items()}


def folded(text: str) -> str:
    """Lower case, without accents."""
    parts = unicodedata.normalize("NFD", text.lower())
    return "".join(part for part in parts if not unicodedata.combining(part))


def _at_home(connection: Connection, text: str) -> list[str]:
    """Students who have this personal address."""
    if "@" not in text:
        return []
    theirs = func.lower(people.c.personal_mail) == text.lower()
    query = select(people.c.student_number).where(theirs).order_by(people.c.student_number)
    return list(connection.execute(query.limit(FOUND_MAX + 1)).scalars())
