"""People of the directory, as django-cas-server lets them in. Imported by Django, once it is configured."""

from __future__ import annotations

import threading

from cas_server.auth import LdapAuthUser  # type: ignore[import-untyped]


class DirectoryUser(LdapAuthUser):  # type: ignore[misc]
    """As the package has it; its one connection for searches is used by one thread at a time."""

    _one_at_a_time = threading.Lock()

    def __init__(self, username: str) -> None:
        with self._one_at_a_time:
            super().__init__(username)
