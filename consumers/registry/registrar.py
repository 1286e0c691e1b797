"""The registrar's facts: who a person is, in which steps they are enrolled, and which teaching units they
follow. The highest source sequence of each step, and of each year's teachings, wins, cancellations included,
whatever the order in which the facts are read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from consumers.registry import teachings
from consumers.registry.doubts import Doubts
from consumers.registry.holders import Holders
from consumers.registry.minting import Minter, Origin
from consumers.registry.people import Identity, KnownPerson, People
from pipeline.db.database import Database
from pipeline.eventlog.port import Record
from schemas.account import Administrative, Enrolment, Lane
from schemas.envelope import Message
from schemas.events import Cause, EnrolmentCancelled, EnrolmentRecorded, TeachingsRecorded

_WHO = ("birth_name", "usage_name", "given_name", "preferred_given_name", "birth_date", "language")


class RegistrarFacts:
    """Applies enrolments within the caller's transaction."""

    def __init__(
        self, database: Database, people: People, minter: Minter, doubts: Doubts, holders: Holders
    ) -> None:
        self._database = database
        self._people = people
        self._minter = minter
        self._doubts = doubts
        self._holders = holders

    def recorded(
        self, connection: Connection, event: EnrolmentRecorded, message: Message, record: Record
    ) -> bool:
        """Apply what the registrar holds; return whether the person was not known before.

        Raises:
            Rejected: no name is left to give, or the number belongs to somebody else.
        """
        before = self._people.locked(connection, event.student_number)
        said = _identity(event)
        if (
            before is not None
            and event.source_sequence > before.identity_sequence
            and not self._holders.accept(connection, before, (said, event.ine), message, record)
        ):
            return False
        after = self._identify(connection, before, event, said)
        cancelled = event.administrative is Administrative.CANCELLED
        newer = self._people.record_enrolment(
            connection,
            event.student_number,
            (event.year, event.step, event.step_version),
            event.source_sequence,
            None if cancelled else Enrolment.model_validate(event.model_dump()),
        )
        released: set[str] = set()
        if after is not None:
            released = self._doubts.examine(connection, before, after, message.id)
        if before is not None:
            self._holders.superseded(connection, event)
        if after is not None or newer:
            self._mint(connection, event.student_number, message)
        for number in sorted(released):
            self._mint(connection, number, message)
        return before is None

    def cancelled(self, connection: Connection, event: EnrolmentCancelled, message: Message) -> None:
        """Apply a cancellation. It is remembered even if the enrolment was never seen."""
        key = (event.year, event.step, event.step_version)
        number, sequence = event.student_number, event.source_sequence
        if self._people.record_enrolment(connection, number, key, sequence, None):
            self._mint(connection, number, message)
        self._holders.superseded(connection, event)

    def taught(self, connection: Connection, event: TeachingsRecorded, message: Message) -> None:
        """Keep which teaching units and groups a feed holds; they count once there is an enrolment."""
        if teachings.record(connection, self._database, event):
            self._mint(connection, event.student_number, message)

    def _identify(
        self, connection: Connection, before: KnownPerson | None, event: EnrolmentRecorded, said: Identity
    ) -> KnownPerson | None:
        """Keep who this person is, as the newest fact says; None if something newer is known."""
        if before is not None and event.source_sequence <= before.identity_sequence:
            return None
        values: dict[str, Any] = {
            "identity": said,
            "identity_sequence": event.source_sequence,
            "ine": event.ine or (before.ine if before is not None else None),
            "personal_mail": event.personal_mail,
        }
        if before is not None:
            self._people.change(connection, event.student_number, **values)
        else:
            self._people.add(connection, KnownPerson(event.student_number, **values))
        return self._people.locked(connection, event.student_number)

    def _mint(self, connection: Connection, student_number: str, message: Message) -> None:
        origin = Origin.of(message, Cause.ENROLMENT, Lane.BULK)
        self._minter.mint_version(connection, student_number, origin)


def _identity(event: EnrolmentRecorded) -> Identity:
    said = {name: getattr(event, name) for name in _WHO}
    return Identity.model_validate({name: value for name, value in said.items() if value is not None})
