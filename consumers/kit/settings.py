"""Settings common to all connectors' sections; an author adds the target's own.

A section changes a default by an annotated name: `timeout_s: AnswerTime = 10.0`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, model_validator

from pipeline.settings import ADVANCED, CA_FILE, MODE, HttpsUrl, Mode, TargetName, TargetSection, tls

LdapUri = Annotated[str, StringConstraints(pattern=r"^ldaps?://[^\s/?#]+/?$", max_length=512)]
Dn = Annotated[str, StringConstraints(pattern=r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$", max_length=512)]

BatchTime = Annotated[
    float,
    Field(
        gt=0,
        le=3600,
        description="Longest time for one batch; who is left is tried again.",
        json_schema_extra=ADVANCED,
    ),
]
ExecutionTime = Annotated[
    float,
    Field(
        ge=0,
        le=3600,
        description="Longest time that the server may continue a call that Sésame gave up; leases "
        "outlive it. PHP continues up to its `max_execution_time`.",
        json_schema_extra=ADVANCED,
    ),
]
BatchSize = Annotated[
    int,
    Field(
        ge=1,
        le=1000,
        description="Students in one call, at most. Fewer where the service allows few calls in a minute.",
        json_schema_extra=ADVANCED,
    ),
]
ConnectTime = Annotated[
    float, Field(gt=0, le=3600, description="Longest wait for a connection.", json_schema_extra=ADVANCED)
]
AnswerTime = Annotated[
    float, Field(gt=0, le=3600, description="Longest wait for one answer.", json_schema_extra=ADVANCED)
]


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
        None, min_length=1, max_length=60, description="The same in English.", json_schema_extra=ADVANCED
    )
    mode: Mode = Field("write", description=MODE)
    call_s_max: BatchTime = 60.0
    execution_s_max: ExecutionTime = 30.0

    @property
    def system(self) -> str:
        """The technology and the server, for operators: no secret, path or query."""
        return type(self).__name__.removesuffix("Settings")


class ClientSettings(ConnectorSettings):
    """A target that is called over the network."""

    ca_file: Path | None = Field(None, description=CA_FILE)
    batch_size: BatchSize = 50
    connect_timeout_s: ConnectTime = 5.0
    timeout_s: AnswerTime = 15.0

    @property
    def verb_s_max(self) -> float:
        """The longest time of one call in seconds, time-outs included. A batch's last call has all of it."""
        return 2 * (self.connect_timeout_s + self.timeout_s)


class PlainPasswordSettings(ClientSettings):
    """A target that takes passwords as typed; its connector declares `credential`."""

    password_s_max: ClassVar[float] = 86_400.0
    """How long a typed password is kept, encrypted, for this target: an outage of a night.

    After that the student must choose one again."""


class TokenSettings(ClientSettings):
    """A target that may want a token with each call."""

    token: SecretStr | None = None
    token_file: Path | None = Field(
        None, description="File that holds the token that the service wants with each call, if any."
    )


class HttpClientSettings(ClientSettings):
    """What the kit's HTTP client needs in addition to addresses."""

    bytes_max: ClassVar[int] = 8_000_000
    """Largest answer read: hundreds of objects."""


class HttpTokenSettings(HttpClientSettings, TokenSettings):
    """The same, of a service that may want a token with each call."""

    basic: ClassVar[bool] = False
    """True: the token is `login:password`, for HTTP Basic (RFC 7617)."""

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
        """See `ConnectorSettings.system`."""
        return f"{super().system} {server_of(self.url)}"

    @model_validator(mode="after")
    def _under_tls(self) -> Self:
        tls("url", self.url)
        return self


def server_of(url: str) -> str:
    """An address' scheme and server, for operators."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
