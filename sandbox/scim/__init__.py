"""A real SCIM server (scim2-server) on loopback, HTTP or HTTPS, in a process of its own, with the quirks that
services in the wild are known for, on request.

By hand: `python -m sandbox.scim --port 8080 --folder scim`; users are at `/v2/Users`. What it holds is
kept in the folder when it is ended politely, and lost when it is killed.
"""

from sandbox.scim.quirks import QUIRKS
from sandbox.scim.server import REFUSED, ScimServer

__all__ = ["QUIRKS", "REFUSED", "ScimServer"]
