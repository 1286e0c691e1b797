"""The registry's knowledge of people: names, enrolments, choices, and accounts.

Every method takes the caller's transaction. A caller that merges locks the person's row first (`locked`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic import Field
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Float,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
    update,
)

from pipeline.accounts import accounts
from pipeline.db.bulk_sql import rows_among
from pipeline.db.database import Database, insert_for
from pipeline.db.metadata import metadata
from pipeline.db.persons import rows_of
from schemas.account import GUEST, SPONSOR_IN_JSON, Enrolment, Hold, Model, Stage

people = Table(
    "people",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("identity", Text, nullable=False),  # names and birth date as last given by the registrar (JSON)
    Column("identity_sequence", BigInteger, nullable=False),  # source sequence of the fact that gave them
    Column("ine", String(11)),
    Column("ine_provisional", Boolean),  # by the registrar; None: it does not say
    Column("esi", String(64)),  # the European Student Identifier, minted once; it contains an INE
    Column("personal_mail", Text),
    Column("mobile", String(16)),
    Column("language", String(8)),
    Column("preferred_given_name", Text),  # settled by the student; wins over the registrar's
    Column("mail_redirect", Text),
    Column("activated_at", Float),
    Column("credential_ref", String(64)),
    Column("credential_sequence", Integer, nullable=False, default=0),
    Column("holds", Text, nullable=False, default="[]"),  # JSON list
    Column("recent_facts", Text, nullable=False, default="[]"),  # ids of the last facts applied (JSON list)
    Column("merged_into", String(32), index=True),  # the number that this one was merged into
    Column("warned_until", Date),  # the last day of access that warnings were planned for
    Column("prolongations", Text),  # last days of access (JSON list); None: none
    info=rows_of("student_number", "merged_into"),
)


enrolments = Table(
    "enrolments",
    metadata,
    Column("student_number", String(32), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("step", String(64), primary_key=True),
    Column("step_version", String(64), primary_key=True),
    Column("source_sequence", BigInteger, nullable=False),  # the highest wins, cancellations included
    Column("cancelled", Boolean, nullable=False),
    Column("document", Text),  # schemas.account.Enrolment as JSON; None: cancelled before it was recorded
    info=rows_of("student_number", numbered_in=[("document", SPONSOR_IN_JSON)]),
)


# Built once: building a statement for each fact costs more than the database does.
_PEOPLE: Final = select(people)
_PERSON: Final = _PEOPLE.where(people.c.student_number == bindparam("number"))
_MERGED: Final = (
    select(people).where(people.c.merged_into == bindparam("number")).order_by(people.c.student_number)
)
_CHANGE: Final = update(people).where(people.c.student_number == bindparam("number"))
_ENROLMENTS: Final = select(enrolments.c.document).where(
    enrolments.c.student_number.in_(bindparam("numbers", expanding=True)),
    enrolments.c.cancelled.is_(False),
    enrolments.c.source_sequence > bindparam("above"),
)


_KEY: Final = enrolments.c.year, enrolments.c.step, enrolments.c.step_version
_EVERY_STEP: Final = select(*_KEY, enrolments.c.cancelled).order_by(*_KEY)


class Names(NamedTuple):
    """A student's permanent names."""

    login: str
    mail: str
    principal: str


class Identity(Model):
    """Who a person is, as the registrar last sent it. Never leaves the registry whole.

    A person with only one name has an empty birth name or an empty given name.
    """

    birth_name: str = ""
    usage_name: str | None = None
    given_name: str = ""
    preferred_given_name: str | None = None
    birth_date: date
    language: str | None = Field(default=None, description="the registrar's; the student's own choice wins")

    @property
    def full_name(self) -> str:
        """Given name, then the name in use, else the one at birth."""
        return " ".join(filter(None, (self.given_name, self.usage_name or self.birth_name)))


@dataclass(frozen=True)
class KnownPerson:
    """A person's row.

    Attributes:
        ine_provisional: as the registrar says; None: it does not.
        esi: the European Student Identifier that was minted for this number; see `esi`.
        identity_sequence: source sequence of the fact that gave `identity`.
        language, preferred_given_name, mail_redirect: the student's choices; None: none.
        activated_at: seconds since the epoch; None: the student has not requested the account.
        credential_ref: the newest sealed password, by `credential_sequence` (the vault's).
        recent_facts: ids of the last facts that were applied, oldest first: a redelivery is recognised.
        merged_into: the number that this one was merged into, as an operator decided.
        warned_until: the last day of access that warnings were planned for; None: it is not near.
        prolongations: the days until which access was prolonged since the last enrolment.
    """

    student_number: str
    identity: Identity
    identity_sequence: int
    ine: str | None = None
    ine_provisional: bool | None = None
    esi: str | None = None
    personal_mail: str | None = None
    mobile: str | None = None
    language: str | None = None
    preferred_given_name: str | None = None
    mail_redirect: str | None = None
    activated_at: float | None = None
    credential_ref: str | None = None
    credential_sequence: int = 0
    holds: frozenset[Hold] = field(default_factory=frozenset)
    recent_facts: tuple[str, ...] = ()
    merged_into: str | None = None
    warned_until: date | None = None
    prolongations: tuple[date, ...] = ()


class PersonAsked(NamedTuple):
    """When a known student activated the account (epoch seconds), and its password."""

    activated_at: float | None
    credential_ref: str | None


class PersonContact(NamedTuple):
    """How to write to a student.

    The number in use after merges, the registrar's personal address and mobile number, the stage of the
    account (None: there is none), and since when it is activated.
    """

    student_number: str
    personal_mail: str | None
    mobile: str | None
    stage: str | None
    activated_at: float | None


class People:
    """The registry's tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- persons ---

    def locked(self, connection: Connection, student_number: str) -> KnownPerson | None:
        """The person, locked until the transaction ends: no other caller mints meanwhile.

        An unknown number is locked too: otherwise facts kept for its first enrolment would be invisible to
        the transaction that records it.
        """
        self.lock(connection, student_number)
        row = connection.execute(self._database.locking(_PERSON), {"number": student_number}).one_or_none()
        return None if row is None else _person(row)

    def lock(self, connection: Connection, student_number: str) -> None:
        """Lock a number, known or not, until the transaction ends."""
        self._database.alone(connection, "person", student_number)

    def known(self, connection: Connection, student_number: str) -> KnownPerson | None:
        """Read the person without a lock."""
        row = connection.execute(_PERSON, {"number": student_number}).one_or_none()
        return None if row is None else _person(row)

    def known_among(self, connection: Connection, student_numbers: Collection[str]) -> dict[str, KnownPerson]:
        """The known ones of these students."""
        rows = rows_among(connection, _PEOPLE, people.c.student_number, list(student_numbers))
        return {row.student_number: _person(row) for row in rows}

    def anybody(self, connection: Connection) -> bool:
        """True if any person is known."""
        return connection.execute(select(people.c.student_number).limit(1)).one_or_none() is not None

    def merged_into(self, connection: Connection, student_number: str) -> list[KnownPerson]:
        """The numbers that an operator merged into this one."""
        return [_person(row) for row in connection.execute(_MERGED, {"number": student_number})]

    def owners(self, connection: Connection, student_numbers: Collection[str]) -> dict[str, str]:
        """Whose these numbers are, and those merged into them."""
        merged = select(people.c.student_number, people.c.merged_into)
        rows = connection.execute(merged.where(people.c.merged_into.in_(student_numbers)))
        return {number: number for number in student_numbers} | {row[0]: row[1] for row in rows}

    def held(self, connection: Connection) -> list[KnownPerson]:
        """Those with a hold in force, by number."""
        wanted = people.c.holds != "[]", people.c.merged_into.is_(None)
        rows = connection.execute(select(people).where(*wanted).order_by(people.c.student_number))
        return [_person(row) for row in rows]

    def numbers(self, connection: Connection, student_number: str) -> list[str]:
        """All numbers of a person, first the one that the others were merged into."""
        person = self.known(connection, student_number)
        first = student_number if person is None or person.merged_into is None else person.merged_into
        return [first, *(other.student_number for other in self.merged_into(connection, first))]

    def add(self, connection: Connection, person: KnownPerson) -> bool:
        """Record an unknown person; False if another transaction just did."""
        done = connection.execute(self._database.insert_new(people), _columns(person.__dict__))
        return bool(done.rowcount)

    def change(self, connection: Connection, student_number: str, **values: Any) -> None:
        """Set some of a known person's attributes (named as in `KnownPerson`)."""
        connection.execute(_CHANGE, {"number": student_number, **_columns(values)})

    # --- enrolments ---

    def record_enrolment(
        self,
        connection: Connection,
        student_number: str,
        key: tuple[int, str, str],
        source_sequence: int,
        enrolment: Enrolment | None,
    ) -> bool:
        """Keep the registrar's data of one step, if newer; return whether it was.

        Args:
            key: year, step, step version.
            source_sequence: the highest one wins.
            enrolment: None: cancelled.
        """
        year, step, step_version = key
        row = {
            "student_number": student_number,
            "year": year,
            "step": step,
            "step_version": step_version,
            "source_sequence": source_sequence,
            "cancelled": enrolment is None,
            "document": None if enrolment is None else enrolment.model_dump_json(),
        }
        newer = _newer_enrolment(is_sqlite=self._database.is_sqlite)
        return bool(connection.execute(newer, row).rowcount)

    def enrolments(self, connection: Connection, *student_numbers: str, above: int = -1) -> list[Enrolment]:
        """The uncancelled enrolments of these numbers, above a source sequence."""
        rows = connection.execute(_ENROLMENTS, {"numbers": student_numbers, "above": above})
        return [Enrolment.model_validate_json(row.document) for row in rows]

    def extend_visit(self, connection: Connection, student_number: str, until: date) -> bool:
        """Move the last day of a guest's enrolment. False: there is none.

        A later fact of the invitation still wins.
        """
        for each in self.enrolments(connection, student_number):
            if each.population == GUEST:
                later = each.model_copy(update={"ends_on": until})
                sequence = self.step_sequences(connection, student_number)[each.key] + 1
                return self.record_enrolment(connection, student_number, each.key, sequence, later)
        return False

    def newest_sequence(self, connection: Connection, *student_numbers: str) -> int:
        """The highest source sequence of these numbers' enrolments, or -1. Cancelled ones count."""
        newest = select(func.max(enrolments.c.source_sequence))
        found = connection.scalar(newest.where(enrolments.c.student_number.in_(student_numbers)))
        return -1 if found is None else int(found)

    def step_sequences(self, connection: Connection, student_number: str) -> dict[tuple[int, str, str], int]:
        """The source sequences of this number's enrolments by key. Cancelled ones count."""
        mine = enrolments.c.student_number == student_number
        rows = connection.execute(select(*_KEY, enrolments.c.source_sequence).where(mine))
        return {(year, step, version): sequence for year, step, version, sequence in rows}

    def steps(self, connection: Connection, *student_numbers: str) -> list[tuple[tuple[int, str, str], bool]]:
        """Sorted keys (year, step, version) of these numbers' enrolments. True: cancelled."""
        rows = rows_among(connection, _EVERY_STEP, enrolments.c.student_number, student_numbers)
        return [((row.year, row.step, row.step_version), row.cancelled) for row in rows]

    # --- looks for producers ---

    def contact(self, connection: Connection, student_number: str) -> PersonContact | None:
        """How to write to the student of this number; None: the number is unknown."""
        goes_on = func.coalesce(people.c.merged_into, people.c.student_number)
        query = (
            select(
                goes_on, people.c.personal_mail, people.c.mobile, accounts.c.stage, accounts.c.activated_at
            )
            .outerjoin(accounts, accounts.c.student_number == goes_on)
            .where(people.c.student_number == student_number)
        )
        row = connection.execute(query).one_or_none()
        return None if row is None else PersonContact(*row)

    def asked_by(self, connection: Connection, students: Collection[str]) -> dict[str, PersonAsked]:
        """The known ones of these students (at most some hundreds), and their choices."""
        rows = connection.execute(
            select(people.c.student_number, people.c.activated_at, people.c.credential_ref).where(
                people.c.student_number.in_(sorted(students))
            )
        )
        return {number: PersonAsked(activated_at, ref) for number, activated_at, ref in rows}


_NUMBERS_PER_QUERY: Final = 500
_STEPS: Final = select(
    enrolments.c.student_number, enrolments.c.step, enrolments.c.year, enrolments.c.cancelled
)


def cohort_of(connection: Connection, student_numbers: Collection[str]) -> str | None:
    """A person's newest step, ended or not, in the form of `members_at`; None: none."""
    query = (
        select(enrolments.c.step, enrolments.c.year)
        .where(enrolments.c.student_number.in_(student_numbers))
        .order_by(enrolments.c.year.desc(), enrolments.c.cancelled, enrolments.c.step)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else f"{row.step}-{row.year}"


def cohorts_of(connection: Connection, student_numbers: Sequence[str]) -> dict[str, str]:
    """The newest step of each number, ended or not, in the form of `members_at`."""
    rows = (
        row
        for start in range(0, len(student_numbers), _NUMBERS_PER_QUERY)
        for row in rows_among(
            connection,
            _STEPS,
            enrolments.c.student_number,
            student_numbers[start : start + _NUMBERS_PER_QUERY],
        )
    )
    newest: dict[str, tuple[tuple[int, bool], str]] = {}
    for row in sorted(rows, key=lambda row: row.step, reverse=True):  # of several the first in order stays
        rank = (row.year, not row.cancelled)
        if row.student_number not in newest or rank >= newest[row.student_number][0]:
            newest[row.student_number] = (rank, f"{row.step}-{row.year}")
    return {number: cohort for number, (_, cohort) in newest.items()}


def members_at(connection: Connection, cohort: str, stages: Collection[Stage]) -> int:
    """How many people at these stages were ever enrolled in this step and year."""
    step, _, year = cohort.rpartition("-")
    query = (
        select(func.count(enrolments.c.student_number.distinct()))
        .join(accounts, accounts.c.student_number == enrolments.c.student_number)
        .where(enrolments.c.year == int(year), enrolments.c.step == step, accounts.c.stage.in_(stages))
    )
    return connection.execute(query).scalar_one()


@cache
def _newer_enrolment(*, is_sqlite: bool) -> Any:
    statement = insert_for(enrolments, is_sqlite=is_sqlite)
    said = ("source_sequence", "cancelled", "document")
    return statement.on_conflict_do_update(
        index_elements=list(enrolments.primary_key.columns),
        set_={name: statement.excluded[name] for name in said},
        where=enrolments.c.source_sequence < statement.excluded.source_sequence,
    )


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(values)
    if "identity" in columns:
        columns["identity"] = columns["identity"].model_dump_json()
    if "holds" in columns:
        columns["holds"] = json.dumps(sorted(columns["holds"]))
    if "recent_facts" in columns:
        columns["recent_facts"] = json.dumps(columns["recent_facts"])
    if "prolongations" in columns:
        columns["prolongations"] = json.dumps([day.isoformat() for day in columns["prolongations"]])
    return columns


def _person(row: Row[Any]) -> KnownPerson:
    values = dict(zip(row._fields, row, strict=True))
    values["identity"] = Identity.model_validate_json(values["identity"])
    values["holds"] = frozenset(map(Hold, json.loads(values["holds"])))
    values["recent_facts"] = tuple(json.loads(values["recent_facts"]))
    values["prolongations"] = tuple(map(date.fromisoformat, json.loads(values["prolongations"] or "[]")))
    return KnownPerson(**values)
