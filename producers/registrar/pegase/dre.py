"""The DRE: Pégase's nightly copy in PostgreSQL, which proves the live flow.

Source: PC-Scol/dremgr 2.4 names the schemas. Columns change with each release of Pégase: they are looked up
first. The names below are assumed; no public file has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection, column, select, table, text

from pipeline.db.database import Database
from pipeline.errors import DependencyDown, SesameError
from producers.registrar.pegase.contract import CANCELLED, VALID
from producers.registrar.profiles import academic_year, path_code

SCHEMA, TABLE = "schema_ins", "inscription"
FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "V32": {
        "student_number": "code_apprenant",
        "year": "annee_universitaire",
        "step": "code_formation",
        "path": "code_chemin",
        "status": "statut_inscription",
        "modified": "date_derniere_modification",
    },
    "V31": {
        "student_number": "code_apprenant",
        "year": "code_periode",
        "step": "code_formation",
        "path": "code_chemin",
        "status": "statut_inscription",
        "modified": "date_modification",
    },
}
"""Columns by the release of Pégase that has them first, the newest first."""

_ROWS: Final = 1000
_COLUMNS: Final = text(
    "SELECT column_name FROM information_schema.columns WHERE table_schema = :schema AND table_name = :table"
)


class DreUnusable(SesameError):
    """The DRE cannot prove anything now. The live flow goes on; prove again once the DRE is whole."""

    exit_code = 4


class EnrolmentKey(NamedTuple):
    """One enrolment, as the flow calls it."""

    student_number: str
    year: int
    step: str
    step_version: str


@dataclass(frozen=True)
class Copy:
    """What the DRE has.

    Attributes:
        form: the release whose columns it has.
        valid: enrolments in force.
        cancelled: those that are not in force any more.
        through: when its newest one was modified, in epoch seconds.
    """

    form: str
    valid: frozenset[EnrolmentKey]
    cancelled: frozenset[EnrolmentKey]
    through: float


def read_copy(url: str) -> Copy:
    """Read the enrolments of the DRE at this address, in one transaction.

    Raises:
        AddressRefused: see `pipeline.db.postgresql.address`.
        DreUnusable: it is away, its import is under way, or its columns are not known.
    """
    try:
        with closing(Database(url)) as database, database.read() as connection:
            return _read(connection)
    except DependencyDown as error:
        raise DreUnusable(
            f"the DRE cannot be read: {error}",
            remedy="Each day its database is made anew, at 4:00 by default: try again in some minutes. If it "
            "lasts, check the address, and that its user may read schema_ins.",
        ) from error


def _read(connection: Connection) -> Copy:
    known = set(connection.execute(_COLUMNS, {"schema": SCHEMA, "table": TABLE}).scalars())
    if not known:
        raise DreUnusable(
            f"the DRE has no {SCHEMA}.{TABLE}",
            remedy="Its import may be under way: try again in some minutes. Check that this is the DRE's "
            "database, and that its user may read schema_ins.",
        )
    form = next((name for name, columns in FORMS.items() if known.issuperset(columns.values())), None)
    if form is None:
        newest = next(iter(FORMS))
        lacking = ", ".join(sorted(set(FORMS[newest].values()) - known))
        raise DreUnusable(
            f"the DRE is of an unknown release of Pégase: {SCHEMA}.{TABLE} has no {lacking}",
            remedy="Report the release and this table's columns; nothing was compared.",
        )
    valid, cancelled = set[EnrolmentKey](), set[EnrolmentKey]()
    through = 0.0
    for key, status, modified in _rows(connection, FORMS[form]):
        through = max(through, modified)
        if status == VALID:
            valid.add(key)
        elif status == CANCELLED:
            cancelled.add(key)
    return Copy(form, frozenset(valid), frozenset(cancelled - valid), through)


def _rows(connection: Connection, columns: Mapping[str, str]) -> Iterator[tuple[EnrolmentKey, str, float]]:
    source = table(TABLE, *(column(name) for name in columns.values()), schema=SCHEMA)
    query = select(*(source.c[name].label(field) for field, name in columns.items()))
    for row in connection.execution_options(yield_per=_ROWS).execute(query):
        year = academic_year(str(row.year or ""))
        if row.student_number and row.step and year.isdecimal():
            version = path_code(row.path or row.step)
            key = EnrolmentKey(str(row.student_number), int(year), str(row.step), version)
            modified = row.modified.timestamp() if row.modified is not None else 0.0
            yield key, str(row.status or "").casefold(), modified
