"""Settings common to all connectors' sections; an author adds the target's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, model_validator

from pipeline.settings import (
    ADVANCED,
    CA_FILE,
    EXECUTION,
    MODE,
    HttpsUrl,
    Mode,
    Seconds,
    TargetName,
    TargetSection,
    tls,
)

LdapUri = Annotated[str, StringConstraints(pattern=r"^ldaps?://[^\s/?#]+/?$", max_length=512)]
Dn = Annotated[str, StringConstraints(pattern=r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$", max_length=512)]
Duration = Annotated[float, Field(ge=0, le=3600)]


class ConnectorSettings(TargetSection):
    """A target. Its section has `batch_size` and `verb_s_max` too, as settings or as properties: see
    `ClientSettings`."""

    connector: TargetName | None = Field(
        None,
        description="Which connector this is, if the section has another name: a site may have several.",
        json_schema_extra=ADVANCED,
    )
    title: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="What the pages call the service, in French. Unset: as its connector does.",
        json_schema_extra=ADVANCED,
    )
    title_en: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="The same in English.",
        json_schema_extra=ADVANCED,
    )
    mode: Mode = Field("write", description=MODE)
    call_s_max: Seconds = Field(
        60.0,
        description="Longest time for one batch; who is left is tried again.",
        json_schema_extra=ADVANCED,
    )
    execution_s_max: Duration = Field(30.0, description=EXECUTION, json_schema_extra=ADVANCED)

    @property
    def system(self) -> str:
        """The technology and the server, for operators: no secret, path or query."""
        return type(self).__name__.removesuffix("Settings")


class ClientSettings(ConnectorSettings):
    """A target that is called over the network."""

    batch_size: int = Field(
        50, ge=1, le=1000, description="Students in one call, at most.", json_schema_extra=ADVANCED
    )
    connect_timeout_s: Seconds = Field(
        5.0, description="Longest wait for a connection.", json_schema_extra=ADVANCED
    )
    timeout_s: Seconds = Field(15.0, description="Longest wait for one answer.", json_schema_extra=ADVANCED)

    @property
    def verb_s_max(self) -> float:
        """The longest time of one call in seconds, time-outs included.

        The last call of a batch begins early enough to have all of it.
        """
        return 2 * (self.connect_timeout_s + self.timeout_s)


class PlainPasswordSettings(ClientSettings):
    """A target that wants passwords as they are typed: its connector says so with `credential`."""

    password_s_max: float = Field(
        86_400.0,
        ge=60,
        le=7 * 86_400,
        description="How long a password is kept for this target as it was typed, encrypted, in seconds. "
        "After that it has to be chosen again.",
    )


class HttpClientSettings(ClientSettings):
    """What the kit's HTTP client wants to know, besides addresses."""

    ca_file: Path | None = Field(None, description=CA_FILE)
    bytes_max: int = Field(
        8_000_000,
        ge=1_000,
        le=100_000_000,
        description="Largest answer read, in bytes.",
        json_schema_extra=ADVANCED,
    )


class HttpTokenSettings(HttpClientSettings):
    """The same, of a service that may want a token with each call."""

    token: SecretStr | None = Field(
        None,
        description="A token that the service wants with each call, if any. Better given by a file.",
        json_schema_extra=ADVANCED,
    )
    token_file: Path | None = Field(None, description="File that holds the token.")
    token_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] = Field(
        "Authorization",
        description="The header that carries it; `Authorization` carries `Bearer` and it.",
        json_schema_extra=ADVANCED,
    )


class HttpConnectorSettings(HttpTokenSettings):
    """A target with an HTTP interface at one address."""

    url: HttpsUrl = Field(description="The service's address; `http://` on loopback only.")

    @property
    def system(self) -> str:
        """The server, as operators are shown it: neither path nor query."""
        return f"{super().system} {server_of(self.url)}"

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        tls("url", self.url)
        return self


def server_of(url: str) -> str:
    """An address' scheme and server, as operators are shown it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
