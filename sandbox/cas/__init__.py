"""A real CAS server (django-cas-server) on loopback for a directory's users.

with Slapd() as slapd, CasServer(CasDirectory.of(slapd), [Service("portal", "^https://127…")]) as cas:
    cas.url                   # https://127.0.0.1:…/cas/
    cas.ca_file               # verify the server with this
"""

from sandbox.cas.config import CasDirectory, Config, Service
from sandbox.cas.server import CasServer

__all__ = ["CasDirectory", "CasServer", "Config", "Service"]
