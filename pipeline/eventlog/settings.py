"""Settings of the event log: its kind, address and access."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.settings import ADVANCED, Section
from schemas.language import gettext

LINGER_S: Final = 0.005
"""A record's longest wait for others to be sent with it: little beyond a request's own time."""

_PORT_MAX = 65_535


class LogSettings(Section):
    """The event log: embedded, or Apache Kafka's."""

    place: ClassVar[str] = "log"

    kind: Literal["sqlite", "kafka"] = Field(
        "sqlite",
        description="`sqlite`: embedded and durable, in one file. `kafka`: on the servers named below.",
    )
    partitions: int = Field(
        8,
        ge=1,
        le=256,
        description="Partitions per topic, fixed when the topics are created: changing it later would break "
        "the order of each student's events.",
    )
    servers: tuple[str, ...] = Field(
        (), description="Kafka: some of its servers, `host:port`; the others are learnt from these."
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "SASL_SSL",
        description="Kafka: `SASL_SSL` is TLS with a user name and a password (SCRAM-SHA-512); `SSL` is TLS "
        "alone; `PLAINTEXT`, in clear, is for a machine or a network of its own.",
    )
    ca_file: Path | None = Field(
        None,
        description="Kafka: PEM file of the authorities that may have signed its servers' certificates. "
        "Without it: the system's.",
    )
    username: str | None = Field(
        None, min_length=1, max_length=255, description="Kafka: the user, with `SASL_SSL`."
    )
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="Kafka: file that holds the user's password.")
    replication: int = Field(
        3,
        ge=1,
        le=15,
        description="Kafka: how many servers hold each topic, for `sesame topics`. All but one must have a "
        "record before it counts as appended.",
    )
    session_timeout_s: float = Field(
        15.0,
        ge=1,
        le=300,
        description="Kafka: how long after a consumer's death others go on with its work; within the "
        "servers' `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.",
        json_schema_extra=ADVANCED,
    )

    @property
    def min_insync_replicas(self) -> int:
        """The servers that must have a record before it counts as appended: all but one may be away."""
        return max(1, self.replication - 1)

    @field_validator("servers")
    @classmethod
    def _addresses(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _PORT_MAX:
                raise ValueError(gettext("{server!r} is not host:port", server=server))
        return servers

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "kafka" and not self.servers:
            raise ValueError(gettext("servers must name at least one of Kafka's servers"))
        if self.kind == "kafka" and self.security == "SASL_SSL":
            if self.username is None:
                raise ValueError(gettext("username must be set with SASL_SSL"))
            if not self.has_secret("password"):
                raise ValueError(gettext("password_file must be set with SASL_SSL"))
        return self
