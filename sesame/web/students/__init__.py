"""The students' pages: activation, forgotten password, and the account's state.

`Server` serves them from a `PortalContext`. They need the database and the vault's keys, and no event log:
they publish through the outbox.
"""

from sesame.web.students.portal_context import Cas, Counted, PortalContext, smtp_of
from sesame.web.students.server import PortalPortTaken, Server

__all__ = ["Cas", "Counted", "PortalContext", "PortalPortTaken", "Server", "smtp_of"]
