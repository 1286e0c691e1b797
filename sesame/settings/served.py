"""The common settings of sections whose process serves HTTP."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pipeline.settings import ADVANCED, HttpsUrl, Section, is_loopback
from schemas.language import gettext

Networks = tuple[IPv4Network | IPv6Network, ...]

PublicUrl = Annotated[
    HttpsUrl,
    Field(
        description="The address that people and programs use. Links in messages begin with it, and requests "
        "for any other host are refused. `http://` on loopback only."
    ),
]
Port = Annotated[int, Field(ge=0, le=65_535, description="TCP port to listen on; 0 takes any free one.")]
SessionTime = Annotated[
    float,
    Field(gt=0, le=1440, description="How long a session lasts, in minutes.", json_schema_extra=ADVANCED),
]


class ServedSettings(Section):
    """Where it listens, and by which address it is known."""

    public_url: PublicUrl = "https://localhost"
    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Address to listen on.")
    port: Port = 0
    tls_cert_file: Path | None = Field(
        None,
        description="Certificate chain (PEM), to serve HTTPS without a reverse proxy.",
        json_schema_extra=ADVANCED,
    )
    tls_key_file: Path | None = Field(
        None, description="The certificate's private key (PEM), mode 0600.", json_schema_extra=ADVANCED
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of the reverse proxies in front. Their `X-Forwarded-For` says who "
        "asks; nobody else's is believed.",
    )
    session_min: SessionTime = 60.0

    @property
    def origin(self) -> str:
        """Scheme and host as browsers write them in `Origin`."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def secure(self) -> bool:
        """True if requests come by HTTPS."""
        return self.origin.startswith("https://")

    @staticmethod
    def networks(texts: tuple[str, ...]) -> Networks:
        """The addresses and networks, parsed."""
        return tuple(ip_network(text, strict=False) for text in texts)

    @field_validator("trusted_proxies", "shared_networks", check_fields=False)
    @classmethod
    def _networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                ip_network(text, strict=False)
            except ValueError as error:
                what = gettext("{text!r} is no address or network, like 10.0.0.0/8", text=text)
                raise ValueError(what) from error
        return texts

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        parts = urlsplit(self.public_url)
        if parts.path.rstrip("/"):
            raise ValueError(gettext("public_url has no path: the pages want a host name of their own"))
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError(gettext("public_url must begin with https://: secrets pass there"))
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError(gettext("tls_cert_file and tls_key_file go together"))
        return self
