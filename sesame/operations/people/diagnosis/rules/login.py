"""Rules about logging in through CAS."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.directory import NAME as DIRECTORY
from schemas.language import gettext
from sesame.acts.acts import utc, utc_or_none
from sesame.login.login import LoginFailure
from sesame.login.outcome import ProbeOutcome
from sesame.operations.people.diagnosis.rules.base import Finding, rule
from sesame.operations.people.diagnosis.situation import CAS, Situation

_REFUSING = (ProbeOutcome.SERVICE_REFUSED, ProbeOutcome.TICKET_REJECTED, ProbeOutcome.MISMATCH)


@rule("cas_down")
def cas_down(s: Situation) -> Iterator[Finding]:
    """The service account reached no login server, or one too slow for any user."""
    if CAS in s.live.unseen:
        yield Finding("cas_down", CAS, {"probe": gettext("no answer"), "said": s.live.unseen[CAS]})
        return
    yield from _probed(s, "cas_down", ProbeOutcome.UNAVAILABLE)
    yield from _unprobed(s, "cas_down", LoginFailure.CAS_DOWN)


@rule("cas_lets_nobody_in")
def cas_lets_nobody_in(s: Situation) -> Iterator[Finding]:
    """The login server refuses the service account because its directory is down."""
    yield from _probed(s, "cas_lets_nobody_in", ProbeOutcome.DIRECTORY_DOWN, ProbeOutcome.CAS_ALONE_REFUSES)


@rule("cas_misconfigured")
def cas_misconfigured(s: Situation) -> Iterator[Finding]:
    """The portal misses the login server by a setting: an address, a certificate."""
    yield from _probed(s, "cas_misconfigured", ProbeOutcome.MISCONFIGURED)
    yield from _unprobed(s, "cas_misconfigured", LoginFailure.MISCONFIGURED)


@rule("cas_refuses_portal")
def cas_refuses_portal(s: Situation) -> Iterator[Finding]:
    """The login server lets people in, and refuses the portal: its settings, or ours."""
    yield from _probed(s, "cas_refuses_portal", *_REFUSING)
    yield from _unprobed(s, "cas_refuses_portal", LoginFailure.SERVICE_REFUSED)


@rule("ticket_refused")
def ticket_refused(s: Situation) -> Iterator[Finding]:
    """The student came back with a ticket that CAS did not vouch for."""
    yield from _came_back(s, "ticket_refused", LoginFailure.TICKET_REFUSED)


@rule("other_person")
def other_person(s: Situation) -> Iterator[Finding]:
    """Another person was logged in on this browser."""
    yield from _came_back(s, "other_person", LoginFailure.OTHER_PERSON)


@rule("cookie_missing")
def cookie_missing(s: Situation) -> Iterator[Finding]:
    """The browser returned without the cookie with which it left."""
    yield from _came_back(s, "cookie_missing", LoginFailure.NO_COOKIE)


@rule("cas_not_tried")
def cas_not_tried(s: Situation) -> Iterator[Finding]:
    """All is ready, and no login was seen yet."""
    if s.uses_cas and s.should_work(DIRECTORY) is not None and s.login is None:
        yield Finding("cas_not_tried", CAS, {"logins seen": 0})


def _probed(s: Situation, name: str, *outcomes: ProbeOutcome) -> Iterator[Finding]:
    """The service account's login has just ended with this result."""
    login = s.live.login
    if login is not None and login.outcome in outcomes:
        yield Finding(name, CAS, {"probe": login.outcome.value, "said": login.message})


def _unprobed(s: Situation, name: str, failure: LoginFailure) -> Iterator[Finding]:
    """As `_came_back`, unless a login of the service account shows CAS's state."""
    login = s.live.login
    if login is None or login.outcome.of_the_probe:
        yield from _came_back(s, name, failure)


def _came_back(s: Situation, name: str, failure: LoginFailure) -> Iterator[Finding]:
    """The last login failed for this reason, and none has succeeded since."""
    login = s.login
    if login is None or login.failure != failure or login.failed_at is None:
        return
    if login.last_at is None or login.last_at < login.failed_at:
        evidence = {
            "failure": failure.value,
            "at": utc(login.failed_at),
            "worked": utc_or_none(login.last_at),
        }
        yield Finding(name, CAS, evidence, since=utc(login.failed_at))
