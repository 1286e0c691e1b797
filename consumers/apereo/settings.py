"""The endpoint that ends CAS sessions, and its credentials."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from consumers.kit.settings import HttpClientSettings, server_of
from pipeline.settings import ADVANCED, HttpsUrl, tls


class ApereoSettings(HttpClientSettings):
    """Sessions of the CAS server, ended when access is shut. Used when `apereo` is among the
    `targets`."""

    place: ClassVar[str] = "apereo"

    url: HttpsUrl = Field(
        "https://cas.univ-exemple.fr/cas/actuator/ssoSessions",
        description="The endpoint `ssoSessions` of Apereo CAS; `http://` on loopback only.",
        json_schema_extra=ADVANCED,
    )
    username: str = Field(
        "sesame",
        min_length=1,
        max_length=255,
        pattern=r"^[^:]+$",
        description="As whom it is called (HTTP Basic), where there is a password.",
        json_schema_extra=ADVANCED,
    )
    password: SecretStr | None = None
    password_file: Path | None = Field(
        None, description="File that holds the password, if CAS asks for one.", json_schema_extra=ADVANCED
    )

    @property
    def system(self) -> str:
        """See `ConnectorSettings.system`."""
        return f"Apereo CAS {server_of(self.url)}"

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        tls("url", self.url)
        return self
