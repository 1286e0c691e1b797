"""A real Apereo CAS, as universities run it, on loopback for a directory's users.

with Slapd() as slapd, Apereo(CasDirectory.of(slapd), [Service("portal", "^https://127…")]) as cas:
    cas.url                   # https://127.0.0.1:…/cas/
    cas.ca_file               # verify the server with this

It is `sandbox.cas.CasServer` with another program: 15 to 60 s to start, and 0.6 GB of memory.
"""

from sandbox.apereo.server import Apereo
from sandbox.apereo.war import fetch_war

__all__ = ["Apereo", "fetch_war"]
