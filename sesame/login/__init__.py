"""CAS: logging in, the observation that it works for a student, single logout, and the login probe."""

from sesame.login.login import Arrival, CasLogins, LoginFailure
from sesame.login.outcome import ProbeOutcome, ProbeResult
from sesame.login.port import LoginServer, TicketRefused, Validated
from sesame.login.probe import LoginProbe

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
