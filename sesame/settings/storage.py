"""Where things are kept: the store, the event log, the vault's key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pipeline.db.postgresql import AddressRefused, address
from pipeline.settings import Section, SettingsError

SQLITE = "sqlite:///"

_EXAMPLE = "For example postgresql://sesame@db.univ-exemple.fr/sesame, with store.password_file."
_SECRET_PARAMETERS = frozenset({"password", "sslpassword"})

_PORT_MAX = 65_535


class StoreSettings(Section):
    """The database: accounts, the ledger of identities, the outbox, what is parked, the dead letters."""

    place: ClassVar[str] = "store"

    url: SecretStr | None = Field(
        None,
        description="URL of the database: `postgresql://USER@HOST:PORT/DATABASE`, or "
        "`sqlite:////PATH`. It may hold a password; `store.password_file` is better. A server that is not "
        "this machine is verified (`sslmode=verify-full`). "
        "Without it: SQLite, in the file `sesame.db` of `data_dir`.",
    )
    url_file: Path | None = Field(None, description="File that holds `store.url`.")
    password: SecretStr | None = Field(
        None, description="PostgreSQL: the password of the URL's user. Better given by a file."
    )
    password_file: Path | None = Field(None, description="File that holds `store.password`.")
    ca_file: Path | None = Field(
        None,
        description="PostgreSQL: certificates (PEM) that the server's one is verified with. Without it: "
        "those of the system.",
    )

    history_days: int = Field(
        180,
        ge=1,
        le=3650,
        description="Days that what is over is kept: resolved dead letters, replays, imports, tombstones of "
        "the vault, accepted losses. What is unresolved is kept. [Every table](retention.md).",
    )
    audit_days: int = Field(
        1096,
        ge=30,
        le=7300,
        description="Days that the audit and operators' reasons are kept in the store. Older entries are "
        "moved to files in the folder `audit` of `data_dir`, without the reasons.",
    )

    def address(self, embedded: Path) -> SecretStr:
        """The database's URL, complete, with its secrets.

        Args:
            embedded: the file of the embedded database, if no other one is named.

        Raises:
            SettingsError: it is no database's URL, or its connection would not be verified.
            SecretUnreadable: it is in a file that cannot be read.
        """
        if not self.has_secret("url"):
            return SecretStr(f"{SQLITE}{embedded.absolute()}")
        try:
            url = make_url(self.secret("url").get_secret_value())
        except (ArgumentError, ValueError):  # whose text repeats what may hold a password
            raise _refused("is not a database's URL") from None
        if url.get_backend_name() == "sqlite":
            return SecretStr(url.render_as_string(hide_password=False))
        if url.get_backend_name() != "postgresql":
            raise _refused(f"names {url.get_backend_name()}, which is not supported")
        return SecretStr(self._postgresql(url).render_as_string(hide_password=False))

    def _postgresql(self, url: URL) -> URL:
        if hidden := _SECRET_PARAMETERS & set(url.query):
            raise _refused(f"has a secret among its parameters ({', '.join(sorted(hidden))})")
        if self.has_secret("password"):
            if url.password is not None:
                raise _refused("holds a password, and store.password is set too: keep one of them")
            url = url.set(password=self.secret("password").get_secret_value())
        if self.ca_file is not None:
            url = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(self.ca_file)})
        try:
            return address(url)
        except AddressRefused as error:
            raise _refused(str(error), remedy=error.remedy) from error


def _refused(why: str, *, remedy: str = "") -> SettingsError:
    return SettingsError(f"store.url {why}" if not remedy else f"store.url: {why}", remedy=remedy or _EXAMPLE)


class LogSettings(Section):
    """The event log: embedded, or Apache Kafka's."""

    place: ClassVar[str] = "log"

    kind: Literal["sqlite", "kafka"] = Field(
        "sqlite",
        description="`sqlite`: embedded and durable, in one file. `kafka`: on the servers named below.",
    )
    path: Path | None = Field(
        None, description="The embedded log's file. Without it: `events.db` in `data_dir`."
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
    password: SecretStr | None = Field(None, description="Kafka: the user's password.")
    password_file: Path | None = Field(None, description="File that holds `log.password`.")
    group_prefix: str = Field(
        "sesame.",
        max_length=100,
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Kafka: what stands before the name of each consumer group. Changing it makes every "
        "consumer read the log from its beginning.",
    )
    replication: int = Field(
        3, ge=1, le=15, description="Kafka: how many servers hold each topic, for `sesame topics`."
    )
    min_insync_replicas: int = Field(
        2,
        ge=1,
        le=15,
        description="Kafka: how many of these must have a record before it counts as appended, for "
        "`sesame topics`.",
    )
    partition_bytes_max: int | None = Field(
        None,
        ge=10_000_000,
        description="Kafka: the size in bytes above which a partition's oldest records are removed before "
        "their time, for `sesame topics`. Without it: age alone decides.",
    )
    session_timeout_s: float = Field(
        15.0,
        ge=1,
        le=300,
        description="Kafka: how long after a consumer's death others go on with its work; within the "
        "servers' `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.",
    )
    poll_interval_s_max: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="Kafka: a consumer that has not read for so long counts as dead, if its process lives.",
    )
    request_timeout_s: float = Field(5.0, ge=1, le=300, description="Kafka: how long one request may take.")
    delivery_timeout_s: float = Field(
        10.0, ge=1, le=600, description="Kafka: how long an append may take, attempts and all."
    )
    linger_s: float = Field(
        0.005, ge=0, le=1, description="Kafka: how long a record may wait for others to be sent with it."
    )

    @field_validator("servers")
    @classmethod
    def _addresses(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _PORT_MAX:
                raise ValueError(f"{server!r} is not host:port")
        return servers

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "kafka" and not self.servers:
            raise ValueError("servers must name at least one of Kafka's servers")
        if self.kind == "kafka" and self.security == "SASL_SSL":
            if self.username is None:
                raise ValueError("username must be set with SASL_SSL")
            if not self.has_secret("password"):
                raise ValueError("password_file must be set with SASL_SSL")
        if self.min_insync_replicas > self.replication:
            raise ValueError("min_insync_replicas must not be above replication")
        if self.delivery_timeout_s < self.request_timeout_s + self.linger_s:
            raise ValueError("delivery_timeout_s must not be below request_timeout_s and linger_s together")
        return self


class VaultSettings(Section):
    """The vault: password hashes on their way to the directory, encrypted."""

    place: ClassVar[str] = "vault"

    key_file: Path | None = Field(
        None,
        description="The file of the encryption keys, one a line: the first one seals, every one opens. "
        "Mode 0600; `sesame vault init` makes it. Without it: `vault.key` in `data_dir`.",
    )
