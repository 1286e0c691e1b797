"""People of the directory for django-cas-server. Imported by Django, once it is configured."""

from __future__ import annotations

import threading

from cas_server.auth import LdapAuthUser  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from ldap3.core.exceptions import LDAPException


class DirectoryUser(LdapAuthUser):  # type: ignore[misc]
    """The package's user. One thread at a time uses its search connection.

    After a break the connection is made again: the package would retry one that has given up without end.
    """

    _one_at_a_time = threading.Lock()

    def __init__(self, username: str) -> None:
        with self._one_at_a_time:
            try:
                super().__init__(username)
            except LDAPException:
                DirectoryUser._conn = None
                settings.CAS_LDAP_SERVER.reset_availability()
                raise
