"""Turns a CAS ticket into a session, and notes that CAS works for this student."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, func, select

from pipeline.accounts import accounts, find
from pipeline.db.database import Database
from pipeline.errors import Misconfigured, TargetDown
from sesame.login import cas_logins, cas_sessions
from sesame.login.cas_sessions import CasSession
from sesame.login.port import LoginServer, ServiceRefused, TicketRefused, Validated

_TOKEN_BYTES = 32


class LoginFailure(StrEnum):
    """Why a browser that came back from CAS was of no use. Kept with the student; see `diagnosis`."""

    TICKET_REFUSED = "ticket_refused"
    OTHER_PERSON = "other_person"
    SERVICE_REFUSED = "service_refused"
    CAS_DOWN = "cas_down"
    MISCONFIGURED = "cas_misconfigured"  # we do not reach it: an address, a certificate
    NO_COOKIE = "no_cookie"  # the browser did not bring back the cookie with which it left


@dataclass(frozen=True, slots=True)
class Arrival:
    """A return from CAS with a good ticket.

    Attributes:
        token: enters the session; for the browser's cookie alone.
        student_number: None: the person has no account here.
        as_expected: whether it is the student who was sent there.
    """

    login: str
    student_number: str | None
    token: str = field(repr=False)
    as_expected: bool = True


_NUMBER_ATTRIBUTE: Final = "supannEtuId"
"""SupAnn 2021's student number: where the CAS server releases it, it must agree with the account's."""
CAS_SESSION_S: Final = 4 * 3600.0
"""The longest session by CAS: half a day at one desk; single logout ends it before."""


class CasLogins:
    """Logins by CAS. Every method may block: call none from an event loop.

    Args:
        session_s: how long a session lasts at most.
        roles_of: the roles that a login's released attributes give at this service.
    """

    def __init__(
        self,
        database: Database,
        server: LoginServer,
        *,
        session_s: float = CAS_SESSION_S,
        roles_of: Callable[[Validated], Iterable[str]] = lambda _validated: (),
    ) -> None:
        self._database = database
        self._server = server
        self._session_s = session_s
        self._roles_of = roles_of

    def arrive(self, ticket: str, *, expected: str | None = None) -> Arrival:
        """Validate a ticket, open a session, and note that CAS works for its owner.

        Raises as `LoginServer.validate`; noted with `expected`, the student who was sent to CAS, if known.
        """
        try:
            validated = self._server.validate(ticket)
        except (TicketRefused, ServiceRefused, TargetDown, Misconfigured) as error:
            self.note_failure(expected, _failure(error))
            raise
        claimed = validated.attributes.get(_NUMBER_ATTRIBUTE, ())
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        database = self._database
        with database.write() as connection:
            number, shown = _student(connection, validated.login)
            if number is not None and claimed and {number, shown}.isdisjoint(claimed):
                number = None  # the login is not this account's any more: show no page
            if number is not None:
                cas_logins.seen(connection, database, number)
            if expected is not None and number != expected:
                cas_logins.failed(connection, database, expected, LoginFailure.OTHER_PERSON)
            now = database.now(connection)
            session = CasSession(
                self._server.service_url,
                validated.login,
                number,
                now,
                now + self._session_s,
                roles=tuple(sorted(self._roles_of(validated))),
            )
            cas_sessions.open_(connection, token=token, ticket=ticket, session=session)
            cas_sessions.forget_over(connection, now=now)
        return Arrival(validated.login, number, token, as_expected=expected in (None, number))

    def session(self, token: str) -> CasSession | None:
        """The session that this token enters; None: there is none (any more)."""
        database = self._database
        with database.read() as connection:
            now = database.now(connection)
            return cas_sessions.find(connection, token, service=self._server.service_url, now=now)

    def leave(self, token: str) -> None:
        """End a session of ours. Also send the browser to `LoginServer.logout_url`."""
        with self._database.write() as connection:
            cas_sessions.end(connection, token, now=self._database.now(connection))

    def logged_out(self, body: bytes) -> bool:
        """Handle a single logout (its `logoutRequest`): end the session of its ticket."""
        ticket = self._server.logged_out(body)
        if ticket is None:
            return False
        with self._database.write() as connection:
            return cas_sessions.end_by_ticket(connection, ticket, now=self._database.now(connection))

    def note_failure(self, student_number: str | None, failure: LoginFailure) -> None:
        """Note why the return from CAS failed, with the student who was sent there."""
        if student_number is not None:
            with self._database.write() as connection:
                cas_logins.failed(connection, self._database, student_number, failure)


def _failure(error: Exception) -> LoginFailure:
    if isinstance(error, TicketRefused):
        return LoginFailure.TICKET_REFUSED
    if isinstance(error, ServiceRefused):
        return LoginFailure.SERVICE_REFUSED
    return LoginFailure.MISCONFIGURED if isinstance(error, Misconfigured) else LoginFailure.CAS_DOWN


def _student(connection: Connection, login: str) -> tuple[str | None, str | None]:
    """The account's student number, and the directory's if it shows another one.

    CAS servers may give the login in another case (uid compares without, RFC 4519).
    """
    query = select(accounts.c.student_number).where(func.lower(accounts.c.login) == login.lower())
    found = connection.execute(query).scalars().all()
    account = find(connection, found[0]) if len(found) == 1 else None
    return (None, None) if account is None else (found[0], account.shown_number)
