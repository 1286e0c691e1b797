"""CAS: logging in, the observation that it works for a student, single logout, and the login probe."""

from sesame.cas.login import Arrival, CasLogins, LoginFailure
from sesame.cas.outcome import ProbeOutcome, ProbeResult
from sesame.cas.port import LoginServer, TicketRefused, Validated
from sesame.cas.probe import LoginProbe

__all__ = [
    "Arrival",
    "CasLogins",
    "LoginFailure",
    "LoginProbe",
    "LoginServer",
    "ProbeOutcome",
    "ProbeResult",
    "TicketRefused",
    "Validated",
]
