"""Connects the registry to activation's mail to students.

The registry knows whose access ends and when, and whose address has changed; activation writes to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection

from consumers.registry.lifecycle.stages import Lifecycle, Milestone
from producers.activation import mail_proofs
from producers.activation.notices import ENDING, INVITED, Notices
from producers.activation.proofs import PASSWORD, Digests
from schemas.account import Account, Stage
from schemas.language import Language
from sesame.operations.access import guests
from sesame.operations.people.diagnosis.words import word
from sesame.settings import Settings


def void_links(connection: Connection, student_number: str, now: float) -> None:
    """Void the links sent to a lost personal address: it may have a new owner."""
    mail_proofs.void_others(connection, student_number, PASSWORD, now)


class MailedEndNotices:
    """Implements `consumers.registry.lifecycle.warnings.EndNotices`. `digests`: of the pages' links."""

    def __init__(self, settings: Settings, notices: Notices, digests: Digests) -> None:
        self._settings = settings
        self._notices = notices
        self._digests = digests

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
        """Tell this student. What is not sent by the last day of access is never sent."""
        if account.stage is Stage.ACTIVE:
            self._warn_guest(connection, account, until, now)
            return
        language = _language(account)
        erased = [step for step in steps if step.stage is Stage.ERASED]
        self._notices.tell(
            connection,
            ENDING,
            account.student_number,
            language,
            now,
            until=_after(until),
            link=None if prolonged_to is None else self._digests,
            last_day=until.isoformat(),
            prolonged_to=None if prolonged_to is None else prolonged_to.isoformat(),
            services=[
                (self._title(step.target, language), step.day.isoformat()) for step in erased if step.target
            ],
            account_erased=next((step.day.isoformat() for step in erased if step.target is None), None),
        )

    def invite(self, connection: Connection, account: Account, until: date, now: float) -> None:
        """Tell a guest the number, by which the account is activated."""
        sponsor = guests.sponsor_of(connection, account)
        name = self._settings.portal.institution if sponsor is None else sponsor.person.display_name
        language = _language(account)
        day = until.isoformat()
        self._notices.tell(
            connection, INVITED, account.student_number, language, now, sponsor=name, last_day=day
        )

    def _warn_guest(self, connection: Connection, account: Account, until: date, now: float) -> None:
        """Tell a guest, and the sponsor, who may renew the invitation."""
        number = account.student_number
        about: dict[str, Any] = {"guest": account.person.display_name, "last_day": until.isoformat()}
        sponsor = guests.sponsor_of(connection, account)
        renewed = Lifecycle(self._settings.registry, self._settings.lifecycle).renewed_to(account)
        asks = None if sponsor is None or renewed is None else sponsor.person.display_name
        language, closed = _language(account), _after(until)
        self._notices.tell(connection, ENDING, number, language, now, until=closed, sponsor=asks, **about)
        if sponsor is not None and renewed is not None:
            self._notices.tell(
                connection,
                ENDING,
                number,
                _language(sponsor),
                now,
                until=_after(until),
                link=self._digests,
                to=sponsor.student_number,
                prolonged_to=renewed.isoformat(),
                **about,
            )

    def withdraw(self, connection: Connection, student_number: str, now: float) -> None:
        """Withdraw unsent notices: they are not true any more."""
        self._notices.withdraw(connection, ENDING, student_number, now)

    def _title(self, target: str, language: Language) -> str:
        return self._settings.titles.get(target, {}).get(language) or word("services", target, language)


def _language(account: Account) -> Language:
    return "en" if account.person.language == "en" else "fr"


def _after(until: date) -> float:
    """The moment after a last day."""
    return datetime.combine(until + timedelta(days=1), time(), UTC).timestamp()
