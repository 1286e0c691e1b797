"""Warnings to students in grace and to guests; a guest's invitation.

A durable timer for each student: the warning is written in the transaction in which the timer ends, so that
each is written once, whatever the number of processes, and made up for after an outage. The person's row
remembers for which last day of access warnings were planned: another version within the same grace plans no
further ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Final, Protocol

from sqlalchemy import Connection

from consumers.registry.lifecycle.stages import Lifecycle, Milestone
from consumers.registry.people import KnownPerson, People
from pipeline import accounts, timers
from pipeline.db.database import Database
from schemas.account import Account, Stage, is_guests

WARNING_DUE: Final = "warning_due"

WRITTEN_AT: Final = time(6)
"""When a day's warnings are written, UTC: people find them in the morning."""


class EndNotices(Protocol):
    """Notices that access ends, to guests that it begins; in the caller's transaction."""

    def invite(self, connection: Connection, account: Account, until: date, now: float) -> None:
        """Tell a new guest the number and the last day."""

    def warn(
        self,
        connection: Connection,
        account: Account,
        until: date,
        steps: Sequence[Milestone],
        now: float,
        *,
        prolonged_to: date | None,
    ) -> None:
        """Warn this student at every address.

        Args:
            account: its access ends.
            until: the last day of access.
            steps: what follows by time alone, the next first.
            prolonged_to: the day until which the student may prolong it; None: that is not allowed.
        """

    def withdraw(self, connection: Connection, student_number: str, now: float) -> None:
        """Drop the unsent warnings, which are no longer true."""


class Warnings:
    """Plans and writes warnings. `notices` None: this site sends none."""

    def __init__(
        self, database: Database, people: People, lifecycle: Lifecycle, notices: EndNotices | None
    ) -> None:
        self._database = database
        self._people = people
        self._lifecycle = lifecycle
        self._notices = notices

    def plan(self, connection: Connection, person: KnownPerson, account: Account, today: date) -> None:
        """Invite a new guest; plan the warning of an account that ends.

        A merged number gets none: its access does not end.
        """
        if self._notices is None:
            return
        number = person.student_number
        if account.version == 1 and is_guests(number) and account.valid_until is not None:
            now = self._database.now(connection)
            self._notices.invite(connection, account, account.valid_until, now)
        until = self._lifecycle.warned_of(account) if person.merged_into is None else None
        if until == person.warned_until:
            return
        if person.warned_until is not None:
            self._notices.withdraw(connection, number, self._database.now(connection))
        self._people.change(connection, number, warned_until=until)
        soon = account.stage is Stage.ACTIVE  # a guest for some days needs no warning at once
        first = self._lifecycle.next_warning_on if soon else self._lifecycle.first_warning_on
        self._arm(connection, number, until and first(until, today))

    def due(self, connection: Connection, student_number: str, now: float) -> None:
        """Write a due warning if it is true: access is open, and ends by time alone."""
        person = self._people.locked(connection, student_number)
        account = accounts.find(connection, student_number)
        if self._notices is None or person is None or account is None:
            return
        until, today = person.warned_until, datetime.fromtimestamp(now, UTC).date()
        if until is None or until != self._lifecycle.warned_of(account) or until < today:
            return
        if account.access_open:
            steps = self._lifecycle.timeline(account)
            prolonged_to = self._lifecycle.prolonged_to(account, len(person.prolongations))
            self._notices.warn(connection, account, until, steps, now, prolonged_to=prolonged_to)
        self._arm(connection, student_number, self._lifecycle.next_warning_on(until, today))

    def _arm(self, connection: Connection, student_number: str, day: date | None) -> None:
        if day is None:
            timers.disarm(connection, (WARNING_DUE,), student_number)
            return
        moment = datetime.combine(day, WRITTEN_AT, UTC)
        timers.arm(connection, self._database, WARNING_DUE, student_number, moment.timestamp())
