"""A CAS server, as the portal needs it (CAS protocol 3.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.errors import SesameError


class TicketRefused(SesameError):
    """The CAS server does not vouch for this ticket: it was used before, it is too old, it was given for
    another service, or it was made up. Whoever brought it logs in again."""


class ServiceRefused(SesameError):
    """The CAS server does not know the service that asks, or does not serve it. Register `cas.service_url`
    with the CAS server."""


@dataclass(frozen=True, slots=True)
class Validated:
    """The CAS server's answer to a good ticket: its owner's login, and the attributes that it releases."""

    login: str
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)


class LoginServer(Protocol):
    """A CAS server, for one service. Safe to call from several threads; nothing is kept between calls.

    Attributes:
        service_url: where it sends people back to: from the settings, never from a request.
    """

    service_url: str

    def login_url(self, *, renew: bool = False) -> str:
        """The address to send a browser to; `renew`: those already logged in must log in again."""

    def logout_url(self) -> str:
        """The address to send a browser to, to end everything. It comes back to `service_url`.

        The server knows no other address of ours: Apereo CAS answers 403 to any other.
        """

    def validate(self, ticket: str) -> Validated:
        """Validate a ticket, which works once. Takes up to the two time-outs together.

        Raises:
            TicketRefused: the ticket is unknown, or not for this service.
            ServiceRefused: the server refuses this service.
            TargetDown: the server cannot be reached, or what it answers is no answer.
            Misconfigured: `server_url` is not where it is, or its certificate does not verify.
        """

    def logged_out(self, body: bytes) -> str | None:
        """The ticket that a single logout's request names; None if it is none.

        Such a request has no signature: knowing the ticket is its only proof.
        """
