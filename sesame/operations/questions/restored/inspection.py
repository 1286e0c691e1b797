"""After a restore, keep shut those whom a target shows shut, and ask an operator.

A restored store does not know what was done after its backup, and must not reopen an access shut since. So
every target is read, and a student whom any of them shows shut, while the store would open the account, is
held in the store before any target is written. An operator then opens each, or keeps it shut.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from sqlalchemy import Connection, select

from consumers.directory import NAME as DIRECTORY
from consumers.kit.connector import TargetObject
from consumers.registry.people import People
from pipeline import accounts, audit, status
from pipeline.accounts import accounts as a
from pipeline.audit import operator_notes
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from pipeline.facts import Fact
from pipeline.target_states import target_states as t
from schemas import catalogue
from schemas.account import Account, Stage
from schemas.envelope import SOURCE_PREFIX, Message, event_id, to_record
from schemas.events import HoldPlaced
from sesame.acts import life
from sesame.acts.acts import OPERATORS, Actor, Report, act
from sesame.acts.admission import Notes
from sesame.acts.ports import Restored
from sesame.operations.privacy import again
from sesame.operations.questions.restored import questions
from sesame.operations.questions.restored.questions import HOLD

EMITTER: Final = "restored"
_PAGE = 200
_REASON = "after a restore: a target shows this access shut, and the store does not know why"


@dataclass
class Shown:
    """A student in the targets: those that show it shut, and the directory's version."""

    shut_by: set[str] = field(default_factory=set)
    version: int = 0


class Checked(Report):
    """Result of a check: objects read per target, and the students in question now.

    `unknown_erasures`: receipts on this machine of erasures that the (older) store does not know.
    """

    read: dict[str, int]
    asked: tuple[str, ...]
    unknown_erasures: int


@act("restored.check", OPERATORS)
def check(site: Restored, actor: Actor, say: Callable[[str], None]) -> Checked:
    """Read every target, hold those it shows shut without known reason, resume work.

    Until it succeeds, no target is written.

    Args:
        site: whose targets.
        actor: who requests it.
        say: called with the progress.

    Raises:
        TargetDown, Misconfigured: a target cannot be read; writing stays forbidden: repeat the check.
        StoreUnavailable: likewise.
    """
    database = site.database

    def shut(connection: Connection) -> None:
        life.of(connection, database)
        life.shut(connection, "it is being checked (sesame restored check)", database.now(connection))

    database.transact(shut)
    shown: dict[str, Shown] = {}
    read: dict[str, int] = {}
    for target in sorted(site.settings.targets, key=lambda each: each != DIRECTORY):
        if (count := _read(site, target, shown)) is not None:
            read[target] = count
            say(f"{target}: {count} objects read")
    asked = []
    numbers = iter(sorted(shown))
    while page := {number: shown[number] for number in islice(numbers, _PAGE)}:
        asked += _ask(site, page, actor.name)
    _reopen(site, actor.name, read, asked)
    return Checked(read=read, asked=tuple(asked), unknown_erasures=len(again.unknown(site)))


def _reopen(site: Restored, actor: str, read: dict[str, int], asked: Sequence[str]) -> None:
    database, notes = site.database, Notes.of(site)
    noted = notes.read()

    def reopen(connection: Connection) -> tuple[str, int]:
        name, now = life.of(connection, database).name, database.now(connection)
        detail = {"read": read, "questions": len(asked)}
        audit.note(connection, database, actor=actor, action="restored.check", detail=detail)
        for each in status.statuses(connection):  # of the backup; live ones report again within seconds
            status.forget(connection, each.process)
        return name, life.reopen(connection, now, above=noted.beats if noted is not None else 0)

    notes.write(*database.transact(reopen))


# --- reading the targets ---


def _read(site: Restored, target: str, shown: dict[str, Shown]) -> int | None:
    """Collect those whom a target shows shut; return how many objects it has.

    None: its connector cannot list them. An entry is shut too if its mail is switched off.
    """
    count = 0
    if target == DIRECTORY:
        with site.directory() as directory:
            for count, entry in enumerate(directory.objects(), 1):  # noqa: B007 (counted)
                if entry.locked or entry.attributes.get("sesameMailEnabled") == ("FALSE",):
                    for number in entry.student_numbers:
                        one = shown.setdefault(number.strip(), Shown())
                        one.shut_by.add(DIRECTORY)
                        one.version = max(one.version, entry.version)
        return count
    with site.connector(target) as connector:
        if "objects" not in connector.verbs():
            return None
        if connector.known_by == "mail":
            return _by_mail(target, site, shown, connector.objects())
        for count, found in enumerate(connector.objects(), 1):  # noqa: B007 (counted)
            if found.open is False and found.student_number:
                shown.setdefault(found.student_number, Shown()).shut_by.add(target)
    return count


def _by_mail(target: str, site: Restored, shown: dict[str, Shown], objects: Iterator[TargetObject]) -> int:
    """Collect those whose mailbox is gone, where the target knows addresses only.

    That is a mail server whose users are the directory's.
    """
    found = {value.lower() for each in objects for kind, value in each.names if kind == "mail"}
    erased = again.explained(site)
    for account in _applied(site, target):
        if account.mail.lower() not in found and not erased(account.student_number):
            shown.setdefault(account.student_number, Shown()).shut_by.add(target)
    return len(found)


def _applied(site: Restored, target: str) -> Iterator[Account]:
    """Accounts with open access that this target has, as the store knows it."""
    last = ""
    while True:
        query = (
            select(a.c.document)
            .join(t, (t.c.student_number == a.c.student_number) & (t.c.target == target))
            .where(t.c.applied_version > 0, a.c.student_number > last)
            .order_by(a.c.student_number)
            .limit(_PAGE)
        )
        with site.database.read() as connection:
            page = [Account.model_validate_json(text) for text in connection.execute(query).scalars()]
        if not page:
            return
        yield from (account for account in page if account.at(target).access_open)
        last = page[-1].student_number


# --- questions ---


def _ask(site: Restored, shown: dict[str, Shown], actor: str) -> list[str]:
    """Hold those of these who need an answer; return their numbers."""
    database, registry, moment = site.database, site.registry, datetime.now(UTC)

    def ask(connection: Connection) -> list[str]:
        persons = _by_person(connection, database, shown)
        known = accounts.newest(connection, list(persons))
        asked = [number for number, one in sorted(persons.items()) if _unexplained(known.get(number), one)]
        for number in asked:
            registry.overtake(connection, number, persons[number].version)
            registry.handle(connection, [_hold(connection, number)])
            questions.ask(
                connection, database, number, sorted(persons[number].shut_by), database.now(connection)
            )
        return asked

    def _hold(connection: Connection, number: str) -> Fact:
        ref = operator_notes.keep_and_audit(
            connection,
            database,
            action="hold.place",
            about=HOLD,
            student_number=number,
            actor=actor,
            words=_REASON,
            detail={"student_number": number, "hold": HOLD},
        )
        event = HoldPlaced(student_number=number, hold=HOLD, reason_ref=ref)
        identity = event_id(event.type, EMITTER, number, secrets.token_hex(8))
        headers, value = to_record(message := Message(identity, SOURCE_PREFIX + EMITTER, moment, event))
        topic = catalogue.ACTIVATIONS
        return Fact(Record(topic, 0, 0, number, value, headers, int(moment.timestamp() * 1000)), message)

    return database.transact(ask)


def _by_person(connection: Connection, database: Database, shown: Mapping[str, Shown]) -> dict[str, Shown]:
    """Regroup by the number that each person keeps; separate accounts stay separate."""
    apart = accounts.newest(connection, list(shown))
    known = People(database).known_among(connection, shown.keys() - apart.keys())
    persons: dict[str, Shown] = {}
    for number, one in shown.items():
        goes_on = known[number].merged_into if number in known else None
        there = persons.setdefault(goes_on or number, Shown())
        there.shut_by |= one.shut_by
        there.version = max(there.version, one.version)
    return persons


def _unexplained(account: Account | None, shown: Shown) -> bool:
    """Whether the store would open this access without a reason for what targets show."""
    if account is None:
        return shown.version > 0  # Sésame wrote it: after the backup
    if account.holds or account.stage is Stage.ERASED:
        return False
    if account.stage is Stage.EXPIRED:
        return shown.version > account.version
    return True
