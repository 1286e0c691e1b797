"""Logging in: the CAS server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from pipeline.settings import CA_FILE, HttpsUrl, Section, tls


class CasSettings(Section):
    """CAS: where people log in, and the account with which that is probed. Without `server_url`: not used."""

    place: ClassVar[str] = "cas"

    server_url: HttpsUrl | None = Field(
        None, description="The CAS server, up to the part before `login`; `http://` on loopback only."
    )
    ca_file: Path | None = Field(None, description=CA_FILE)
    service_url: HttpsUrl = Field(
        "https://compte.univ-exemple.fr/cas",
        description="Where the CAS server sends people back to; registered there, with single logout.",
    )
    probe_login: str = Field(
        "sesame-probe", min_length=1, max_length=255, description="The service account that the probe uses."
    )
    probe_password: SecretStr | None = None
    probe_password_file: Path | None = Field(
        None,
        description="File that holds its password. Without it the probe only asks whether the server "
        "answers.",
    )

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        if self.server_url is not None:
            tls("server_url", self.server_url)
        tls("service_url", self.service_url)
        return self
