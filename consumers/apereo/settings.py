"""The endpoint that ends CAS sessions, and its credentials."""

from __future__ import annotations

from typing import ClassVar

from consumers.kit.settings import HttpConnectorSettings, server_of


class ApereoSettings(HttpConnectorSettings):
    """Sessions of Apereo CAS, ended when access is shut.

    `url` is its endpoint `ssoSessions`, `token` is `login:password`.
    """

    place: ClassVar[str] = "apereo"

    basic: ClassVar[bool] = True

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"Apereo CAS {server_of(self.url)}"
