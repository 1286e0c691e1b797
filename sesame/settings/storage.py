"""Where things are kept: the store, the event log, the vault's key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from sesame.settings.base import Section


class StoreSettings(Section):
    """The database: accounts, the ledger of identities, the outbox, what is parked, the dead letters."""

    place: ClassVar[str] = "store"

    url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the database, which may hold a password. "
        "Without it: SQLite, in the file `sesame.db` of `data_dir`.",
    )
    url_file: Path | None = Field(None, description="File that holds `store.url`.")


class LogSettings(Section):
    """The event log."""

    place: ClassVar[str] = "log"

    kind: Literal["sqlite"] = Field("sqlite", description="`sqlite`: embedded and durable, in one file.")
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


class VaultSettings(Section):
    """The vault: password hashes on their way to the directory, encrypted."""

    place: ClassVar[str] = "vault"

    key_file: Path | None = Field(
        None,
        description="The file of the encryption keys, one a line: the first one seals, every one opens. "
        "Mode 0600; `sesame vault init` makes it. Without it: `vault.key` in `data_dir`.",
    )
