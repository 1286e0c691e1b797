"""Publish one person's facts as an import, then await the registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from consumers.registry import NAME
from consumers.registry.doubts import DOUBTFUL
from consumers.registry.people import People
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.errors import SesameError
from producers.registrar import accepted_requests
from producers.registrar.accepted_requests import AcceptedRequest
from producers.registrar.feed import StepKey, fact_id
from producers.registrar.feed_memory import SqlFeedMemory
from producers.registrar.import_runs import ImportSuperseded
from producers.registrar.profiles import SENT
from producers.registrar.report import ImportReport
from schemas.account import Hold
from schemas.language import gettext
from sesame.acts import acts
from sesame.acts.acts import Actor, Report
from sesame.acts.ports import Registering, Shutting
from sesame.operations.access import holds
from sesame.operations.imports.acts import (
    ImportRequest,
    ImportStop,
    RejectedLine,
    for_programs,
    import_sent,
    json_lines,
    rejected_lines,
)
from sesame.operations.imports.turns import ImportTurns, SentLine

REJECTED_SHOWN_MAX: Final = 20
_FILE: Final = "person.jsonl"

_TURNS: Final = ImportTurns()


class Receiving(Registering, Shutting, Protocol):
    """The site that receives persons."""


class PersonRefused(SesameError):
    """Something is missing in what was sent of this person, or wrong: nothing of it was taken."""

    exit_code = 2

    def __init__(self, lines: Collection[RejectedLine]) -> None:
        super().__init__(
            "; ".join(dict.fromkeys(f"{each.column}: {for_programs(each.detail)}" for each in lines))
        )


class PersonRejected(SesameError):
    """The registry did not take what was sent of this person. Its dead letter says why, and what to do."""


class PersonStopped(SesameError):
    """The guard holds this: persons who were sent by programs would lose too much of late. Where it is right,
    an operator approves the import of this id (console, `POST /v1/imports/ID/approve`), and the same is sent
    again; or it is sent with the id as the parameter `approve`."""


class PersonInDoubt(SesameError):
    """It is not sure who this is: the names, the birth date or the INE are somebody else's too, or are not
    those that this number had. Nothing happens until somebody has decided: `sesame identities`."""


class PersonUnderWay(SesameError):
    """What was sent is published, and the registry has not applied it yet. Send the same again: it goes on
    where it is, and is done once."""


Wait = Callable[[], bool]
"""Wait a little; False: no longer."""


@dataclass(frozen=True)
class AsyncAnswer:
    """A late answer to a request that outlasts its wait: see `AcceptedRequest`."""

    txn: str
    method: str
    wait: Wait


class PersonAccepted(Report):
    """All is in the log and answered later, even if every process restarts."""

    student_number: str


class PersonFacts:
    """One person's lines, from import to the registry. `held`: the enrolments that this source holds."""

    def __init__(
        self,
        site: Receiving,
        actor: Actor,
        number: str,
        clock: Callable[[], datetime],
        *,
        approve: str | None,
        accept: tuple[str, ...] = (),
    ) -> None:
        self._site = site
        self._actor = replace(actor, acts=actor.acts | {"import"})  # of this person alone
        self._number = number
        self._how: Any = {"approve": approve, "accept": accept}
        self._clock = clock
        self._sent: list[StepKey] = []
        self._published = SqlFeedMemory(site.database).published(SENT, {number})
        self.held = frozenset(key for key, each in self._published.items() if each.live)

    def may_end(self, steps: Collection[StepKey]) -> bool:
        """Whether only this source holds, or has just ended, these enrolments."""
        ended = [key for key in steps if key not in self.held]
        if not all(key in self._published for key in ended):
            return False
        with self._site.database.read() as connection:
            recorded = People(self._site.database).step_sequences(connection, self._number)
        return all(recorded.get(key[1:], -1) < self._published[key].sequence for key in ended)

    def publish(self, lines: Collection[Mapping[str, str]]) -> None:
        """Import these lines, all or none; skip what is already published."""
        if not lines:
            return
        try:
            if len(lines) == 1:
                [values] = lines
                request = ImportRequest(profile=SENT, **self._how)
                line = SentLine(self._actor, values, self._number, request, _FILE)
                self._take(*_TURNS.import_line(self._site, line, clock=self._clock, stop=ImportStop()))
            else:
                self._import_lines(lines)
        except ImportSuperseded as error:  # by another process
            raise PersonUnderWay from error
        self._sent = [(self._number, int(each["year"]), each["step"], each["stepVersion"]) for each in lines]

    def _import_lines(self, lines: Collection[Mapping[str, str]]) -> None:
        request = ImportRequest(profile=SENT, file=Path(_FILE), sent=json_lines(lines), **self._how)
        with _TURNS.turn(ImportStop()):
            for dry_run in (True, False):
                asked = request.model_copy(update={"dry_run": dry_run})
                report = import_sent(self._site, self._actor, asked, Path(_FILE), clock=self._clock)
                self._take(report, rejected_lines(report))

    def _take(self, report: ImportReport, rejected: Iterable[RejectedLine]) -> None:
        """Check that these lines were accepted. Raises `PersonRefused`, `PersonStopped`."""
        if shown := list(islice(rejected, REJECTED_SHOWN_MAX)):
            raise PersonRefused(shown)
        if report.held and not report.dry_run:  # a trial keeps nothing that an operator could approve
            acts.note(
                self._site.database,
                self._actor,
                "person.stopped",
                student_number=self._number,
                import_id=report.import_id,
                approval=report.approval,
            )
            raise PersonStopped(gettext("the id: {id}", id=report.approval))

    def wait_for(self, wait: Wait) -> None:
        """Wait until the registry has applied what was published of these enrolments.

        Raises:
            PersonInDoubt, PersonRejected: it will not, as things stand.
            PersonUnderWay: it has not yet.
        """
        wait_until(lambda: is_applied(self._site.database, self._number, self._sent), wait)

    def accept(self, connection: Connection, later: AsyncAnswer, *, changes_hold: bool) -> PersonAccepted:
        """Record that this request is to be answered."""
        now = self._site.database.now(connection)
        request = AcceptedRequest(
            later.txn, self._number, later.method, self._sent, changes_hold, accepted_at=now
        )
        accepted_requests.add(connection, request)
        return PersonAccepted(student_number=self._number)


def wait_until(is_so: Callable[[], bool], wait: Wait) -> None:
    """Wait until the condition is true, else raise `PersonUnderWay`."""
    while not is_so():
        if not wait():
            raise PersonUnderWay


def is_applied(database: Database, number: str, steps: Collection[StepKey]) -> bool:
    """Whether the registry has applied this source's last facts of these enrolments.

    Raises:
        PersonInDoubt, PersonRejected: it will not, as things stand.
    """
    if not steps:
        return True
    published = SqlFeedMemory(database).published(SENT, {number})
    with database.read() as connection:
        recorded = People(database).step_sequences(connection, number)
        left = [
            key for key in steps if key in published and recorded.get(key[1:], -1) < published[key].sequence
        ]
        facts = [fact_id(SENT, key, published[key]) for key in left]
        letters = dead_letters.of_events(connection, NAME, facts) if facts else {}
    for letter in letters.values():
        if letter.cause == DOUBTFUL:
            raise PersonInDoubt
        raise PersonRejected(letter.cause)
    return not left


def wait_for_accepted(database: Database, number: str, wait: Wait) -> None:
    """Wait until this person's accepted requests are answered. What is read before would undo them.

    Raises `PersonUnderWay` while one is open.
    """

    def is_answered() -> bool:
        with database.read() as connection:
            return not accepted_requests.any_of(connection, number)

    wait_until(is_answered, wait)


def is_held_as_asked(database: Database, number: str) -> bool:
    """Whether the administrative hold is as last requested, by any actor."""
    with database.read() as connection:
        return holds.is_as_asked(connection, database, number, Hold.ADMINISTRATIVE)
