"""A real SCIM server (scim2-server) on loopback, with quirks on request.

It is a separate process, over HTTP or HTTPS. By hand: `python -m sandbox.scim --port 8080 --folder scim`;
users are at `/v2/Users`. Its data are kept in the folder after a polite end, and lost when it is killed.
"""

from sandbox.scim.quirks import QUIRKS
from sandbox.scim.server import REFUSED, ScimServer

__all__ = ["QUIRKS", "REFUSED", "ScimServer"]
