"""People of the directory, as django-cas-server lets them in. Imported by Django, once it is configured."""

from __future__ import annotations

import threading

from cas_server.auth import LdapAuthUser  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from ldap3.core.exceptions import LDAPException


class DirectoryUser(LdapAuthUser):  # type: ignore[misc]
    """As the package has it; its one connection for searches is used by one thread at a time, and is made
    anew after it broke: once it has given up, the package would try it for ever."""

    _one_at_a_time = threading.Lock()

    def __init__(self, username: str) -> None:
        with self._one_at_a_time:
            try:
                super().__init__(username)
            except LDAPException:
                DirectoryUser._conn = None
                settings.CAS_LDAP_SERVER.reset_availability()
                raise
