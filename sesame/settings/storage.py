"""Settings of what is kept: the store, the vault's key, the privacy key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pipeline.db.postgresql import AddressRefused, address
from pipeline.settings import ADVANCED, Section, SettingsError

SQLITE = "sqlite:///"

_EXAMPLE = "For example postgresql://sesame@db.univ-exemple.fr/sesame, with store.password_file."
_SECRET_PARAMETERS = frozenset({"password", "sslpassword"})


class StoreSettings(Section):
    """The database: accounts, the ledger of identities, the outbox, what is parked, the dead letters."""

    place: ClassVar[str] = "store"

    url: SecretStr | None = None
    url_file: Path | None = Field(
        None,
        description="File that holds the database's URL, `postgresql://USER@HOST:PORT/DATABASE` or "
        "`sqlite:////PATH`. It may hold a password; `password_file` is better. A server that is not this "
        "machine is verified (`sslmode=verify-full`). Without it: SQLite, in the file `sesame.db` of "
        "`data_dir`.",
    )
    password: SecretStr | None = None
    password_file: Path | None = Field(
        None, description="PostgreSQL: file that holds the URL's user's password."
    )
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

    keys_to: Path | None = Field(
        None,
        description="Folder that `sesame backup` copies the persons' keys to, which open the backups: on "
        "another machine or medium, and not where the backups are. Without it: `person-keys` in "
        "`data_dir`, which is lost with the disk.",
        json_schema_extra=ADVANCED,
    )

    def address(self, embedded: Path) -> SecretStr:
        """The database's URL, complete, with its secrets; `embedded`: the file, if no other one is named.

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


class VaultSettings(Section):
    """The vault: password hashes on their way to the directory, encrypted."""

    place: ClassVar[str] = "vault"

    key_file: Path | None = Field(
        None,
        description="The file of the encryption keys, one a line: the first one seals, every one opens. "
        "Mode 0600; `sesame vault init` makes it. Without it: `vault.key` in `data_dir`.",
    )
    keep_last_hash: bool = Field(
        False,
        description="Whether the last hash that the directory took stays in the vault, so that an entry that "
        "somebody deletes is made again with its password: ADR 36 says what that gives up. With the embedded "
        "store only; in no backup.",
        json_schema_extra=ADVANCED,
    )


class PrivacySettings(Section):
    """Erasing persons: what lies outside. The site's key is `privacy.key` in `data_dir`, and never turned."""

    place: ClassVar[str] = "privacy"

    copies_days: int = Field(
        30,
        ge=0,
        le=3650,
        description="Days that copies are kept which Sésame cannot reach: dumps of PostgreSQL, the archive "
        "of its write-ahead log. A receipt says so.",
        json_schema_extra=ADVANCED,
    )
