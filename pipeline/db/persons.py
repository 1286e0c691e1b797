"""Personal data of each table, as it declares them, and their erasure.

A table declares it by `info=rows_of(...)` or `info=of_nobody(...)`. What no declaration can express (names
that are never reused, a chain that still verifies) is a function of the table's room, marked
`@forgets(table)`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Connection, MetaData, Table, bindparam, delete, func, or_, select, update

from pipeline.db.database import Database

Forgotten = Callable[[Connection, str], bool]
"""Whether this student number's person was erased: that there is no account is no fault then. A person who
came back has one."""

_APART: Final = re.compile(r"[\s'\u2019-]+")
_NOT_DECOMPOSED: Final = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d"})
_NEVER_ACCENTED: Final = frozenset("bfmpqvx@0123456789")

_OF: Final = "persons"
_BY: Final = "forgets"


class OnErasure(StrEnum):
    """The effect of an erasure on a person's rows."""

    REMOVED = "removed"
    PSEUDONYM = "pseudonym"  # the row stays, under the person's pseudonym
    OWN = "own"  # the room's own function does it
    NOTHING = "nothing"  # no row is a person's


def nobody(_connection: Connection, _student_number: str) -> bool:
    """Return False: a `Forgotten` for stores that erase no person."""
    return False


@dataclass(frozen=True)
class PersonalRows:
    """A table's declaration of its personal data.

    Attributes:
        columns: each holds a student number; a row belongs to every student it names.
        on_erasure: what becomes of a person's rows.
        named_in: columns whose text may name other persons than the row's own.
        numbered_in: columns that have another person's number, with the JSON around it: `"sponsor":"{}"`.
        why: of a table without persons: what is in it.
    """

    columns: tuple[str, ...] = ()
    on_erasure: OnErasure = OnErasure.NOTHING
    named_in: tuple[str, ...] = ()
    numbered_in: tuple[tuple[str, str], ...] = ()
    why: str = ""
    in_backups: bool = True


@dataclass(frozen=True)
class Forgetting:
    """A person to erase.

    Attributes:
        student_number: the key of the person's rows.
        pseudonym: what replaces it, at most 32 characters.
        identifiers: the number, logins, addresses, the INE and whole names: what texts may name the person
            by, in any case, with or without accents.
        hashed: the keyed digest of a value that must be recognised later, and cannot be read any more.
    """

    student_number: str
    pseudonym: str
    identifiers: tuple[str, ...]
    hashed: Callable[[str], str]


@dataclass(frozen=True)
class ForgottenRows:
    """An erasure's counts in one table: removed, pseudonymised, still the person's."""

    removed: int = 0
    kept: int = 0
    left: int = 0


Forget = Callable[[Connection, Database, Forgetting], ForgottenRows]
_Forget = TypeVar("_Forget", bound=Forget)


def rows_of(
    *columns: str,
    on_erasure: OnErasure = OnErasure.REMOVED,
    named_in: Iterable[str] = (),
    numbered_in: Iterable[tuple[str, str]] = (),
    in_backups: bool = True,
) -> dict[str, Any]:
    """The `info` of a table with rows of persons; see `PersonalRows`."""
    rows = PersonalRows(columns, on_erasure, tuple(named_in), tuple(numbered_in), in_backups=in_backups)
    return {_OF: rows}


def of_nobody(why: str, *, named_in: Iterable[str] = ()) -> dict[str, Any]:
    """Return the `info` of a table without personal rows; `why` tells its content."""
    return {_OF: PersonalRows(named_in=tuple(named_in), why=why)}


def forgets(table: Table) -> Callable[[_Forget], _Forget]:
    """Register the function that erases a person from this table (`OWN`)."""

    def mark(function: _Forget) -> _Forget:
        table.info[_BY] = function
        return function

    return mark


def declared(table: Table) -> PersonalRows:
    """Return a table's declaration of its personal data. Raises KeyError without one (a test finds it)."""
    said: PersonalRows = table.info[_OF]
    return said


def forgetter(table: Table) -> Forget | None:
    """The room's own function; None: its declaration is enough."""
    own: Forget | None = table.info.get(_BY)
    return own


def forget(
    connection: Connection, database: Database, metadata: MetaData, person: Forgetting
) -> dict[str, ForgottenRows]:
    """Erase a person from every table, in the caller's transaction. Return the counts by table."""
    others_first = reversed(metadata.sorted_tables)  # rows that refer to others are erased before them
    done = {table.name: _forget(connection, database, table, person) for table in others_first}
    return {name: each for name, each in done.items() if each is not None}


def held(connection: Connection, table: Table, student_number: str) -> int:
    """Count the rows of a table that belong to this student."""
    columns = declared(table).columns
    if not columns:
        return 0
    mine = or_(*(table.c[name] == student_number for name in columns))
    return len(connection.execute(select(table.c[columns[0]]).where(mine)).all())


def _forget(
    connection: Connection, database: Database, table: Table, person: Forgetting
) -> ForgottenRows | None:
    said, own = declared(table), forgetter(table)
    if said.on_erasure is OnErasure.OWN:
        if own is None:
            raise AssertionError(f"nothing forgets a person in {table.name}")
        done = own(connection, database, person)
    elif said.on_erasure is OnErasure.NOTHING and not said.named_in:
        return None
    else:
        done = _as_declared(connection, table, said, person)
    renamed = sum(_rename(connection, table, name, person) for name in said.named_in)
    renamed += sum(_renumber(connection, table.c[name], form, person) for name, form in said.numbered_in)
    left = held(connection, table, person.student_number)
    return ForgottenRows(done.removed, done.kept + renamed, left)


def _as_declared(
    connection: Connection, table: Table, said: PersonalRows, person: Forgetting
) -> ForgottenRows:
    if said.on_erasure is OnErasure.REMOVED:
        mine = or_(*(table.c[name] == person.student_number for name in said.columns))
        return ForgottenRows(removed=connection.execute(delete(table).where(mine)).rowcount)
    kept = 0
    for name in said.columns:
        mine = table.c[name] == person.student_number
        kept += connection.execute(update(table).where(mine).values({name: person.pseudonym})).rowcount
    return ForgottenRows(kept=kept)


def _rename(connection: Connection, table: Table, name: str, person: Forgetting) -> int:
    """Replace the person's identifiers in a text column; return how many rows changed."""
    column, keys = table.c[name], list(table.primary_key.columns)
    naming = or_(*(column.ilike(_like(each)) for each in person.identifiers))
    changed = 0
    for row in connection.execute(select(*keys, column).where(naming)).all():
        text = without(row[-1], person)
        if text != row[-1]:
            this = [key == bindparam(f"of_{key.name}") for key in keys]
            here: Mapping[str, Any] = {f"of_{key.name}": row[at] for at, key in enumerate(keys)}
            connection.execute(update(table).where(*this).values({name: text}), here)
            changed += 1
    return changed


def _renumber(connection: Connection, column: Column[Any], form: str, person: Forgetting) -> int:
    """Replace the person's number in this form. Return how many rows changed."""
    number, pseudonym = (form.format(each) for each in (person.student_number, person.pseudonym))
    statement = update(column.table).where(column.contains(number, autoescape=True))
    return connection.execute(
        statement.values({column.name: func.replace(column, number, pseudonym)})
    ).rowcount


def without(text: str, person: Forgetting) -> str:
    """Replace each of the person's identifiers by the pseudonym, as a whole word."""
    words = "|".join(map(_pattern, sorted(person.identifiers, key=len, reverse=True)))
    folded, places = _folded(text)
    parts, end = list[str](), 0
    for found in re.finditer(rf"(?<![\w@.-])(?:{words})(?![\w@-])", folded):
        parts += [text[end : places[found.start()]], person.pseudonym]
        end = places[found.end()]
    return "".join((*parts, text[end:]))


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """Fold a text: no accents, lower case. Map each folded position to the original's."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    folded, places = list[str](), list[int]()
    for place, char in enumerate(text):
        plain = unicodedata.normalize("NFKD", char.casefold().translate(_NOT_DECOMPOSED))
        kept = [each for each in plain if not unicodedata.combining(each)]
        folded += kept
        places += [place] * len(kept)
    return "".join(folded), (*places, len(text))


def _pattern(identifier: str) -> str:
    """Return a pattern of an identifier in a folded text. Blanks, hyphens and apostrophes are alike."""
    return r"[\s'\u2019-]+".join(map(re.escape, _APART.split(_folded(identifier)[0])))


def _like(identifier: str) -> str:
    """Return a LIKE pattern of every text with the identifier, and others: accentable characters are wild."""
    kept = (char if char in _NEVER_ACCENTED else "%" for char in _folded(identifier)[0])
    return "%" + "".join(kept) + "%"
