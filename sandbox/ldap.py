"""LDAP as the sandbox's own clients speak it: by ldap3, its TLS verified."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ldap3

_TIMEOUT_S = 120


class VerifiedTls(ldap3.Tls):
    """TLS by the standard library's rules. They accept addresses, which ldap3 refuses."""

    def __init__(self, ca_file: Path | str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = ssl.create_default_context(cafile=ca_file)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Replace the connection's socket by a verified one (ldap3 calls this)."""
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=connection.server.host
        )


@contextmanager
def connected(uri: str, ca_file: Path, who: str, password: str) -> Iterator[Any]:
    """A connection bound as `who` over TLS (`ldaps://…`), without the server's schema.

    It is an `ldap3.Connection`, whose operations are typed in part only.

    Raises:
        LDAPException: the server is not verified, or refuses; so do the connection's operations.
    """
    server = ldap3.Server(uri, tls=VerifiedTls(ca_file), get_info=ldap3.NONE, connect_timeout=_TIMEOUT_S)
    connection = ldap3.Connection(server, who, password, receive_timeout=_TIMEOUT_S, raise_exceptions=True)
    try:
        connection.bind()
        yield connection
    finally:
        connection.unbind()
