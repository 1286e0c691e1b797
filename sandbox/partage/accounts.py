"""The accounts of the domain, in memory and in a file: each address is given once."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ATTRIBUTES: Final = frozenset(
    {
        "businessCategory", "carLicense", "co", "company", "description", "displayName",
        "facsimileTelephoneNumber", "givenName", "homePhone", "initials", "l", "mobile", "pager",
        "postalCode", "sn", "st", "street", "telephoneNumber", "title", "userPassword",
        "zimbraAccountStatus", "zimbraCOSId",
        "zimbraFeatureBriefcasesEnabled", "zimbraFeatureCalendarEnabled", "zimbraFeatureMailEnabled",
        "zimbraFeatureMailForwardingEnabled", "zimbraFeatureOptionsEnabled", "zimbraFeatureTasksEnabled",
        "zimbraHideInGal", "zimbraMailCanonicalAddress", "zimbraMailQuota", "zimbraNotes",
        "zimbraPasswordMustChange", "zimbraPrefFromDisplay", "zimbraPrefMailForwardingAddress",
        "zimbraPrefMailLocalDeliveryDisabled", "zimbraZimletAvailableZimlets",
    }
)  # fmt: skip
"""The attributes that CreateAccount and ModifyAccount take."""

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS attributes (id TEXT, name TEXT, value TEXT, PRIMARY KEY (id, name, value))"
)


class AddressTaken(Exception):
    """The address is held already, by an account, an alias or something else."""


@dataclass
class MailAccount:
    """One account; its name is its main address."""

    id: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)

    def values(self, attribute: str) -> list[str]:
        """An attribute's values for a search (names are compared without case)."""
        asked = attribute.lower()
        if asked == "mail":
            return [self.name, *self.aliases]
        if asked == "zimbramailalias":
            return list(self.aliases)
        if asked in ("zimbraid", "id"):
            return [self.id]
        return [value for name, value in self.attributes.items() if name.lower() == asked]


class Accounts:
    """All accounts. A caller holds `lock` while it looks and writes."""

    def __init__(self, file: Path) -> None:
        self.lock = threading.RLock()
        self.taken: set[str] = set()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(_TABLE)
        self._by_id: dict[str, MailAccount] = {}
        self._by_address: dict[str, MailAccount] = {}
        self._index: dict[tuple[str, str], set[str]] = {}
        self._load()

    def all(self) -> Iterable[MailAccount]:
        """Each account, in no meaningful order."""
        return self._by_id.values()

    def ids(self) -> set[str]:
        """The ids of all accounts."""
        return set(self._by_id)

    def by_id(self, id_: str) -> MailAccount:
        """The account of this id."""
        return self._by_id[id_]

    def with_value(self, attribute: str, value: str) -> set[str]:
        """Ids of those whose attribute has this value, without case."""
        return set(self._index.get((attribute.lower(), value.lower()), ()))

    def find(self, address: str) -> MailAccount | None:
        """The account that holds this address, as its name or as an alias."""
        return self._by_address.get(address.lower())

    def create(self, name: str, attributes: Mapping[str, str]) -> MailAccount:
        """Make a new account; raises AddressTaken."""
        account = MailAccount(str(uuid.uuid4()), self._free(name))
        account.attributes = {each: value for each, value in attributes.items() if value}
        self._keep(account)
        return account

    def modify(self, account: MailAccount, attributes: Mapping[str, str]) -> None:
        """Set attributes; an empty value removes one."""
        self._drop(account)
        account.attributes.update(attributes)
        account.attributes = {each: value for each, value in account.attributes.items() if value}
        self._keep(account)

    def rename(self, account: MailAccount, name: str) -> None:
        """Give it another main address; raises AddressTaken."""
        free = self._free(name)
        self._drop(account)
        account.name = free
        self._keep(account)

    def add_alias(self, account: MailAccount, alias: str) -> None:
        """Give it a further address; raises AddressTaken."""
        free = self._free(alias)
        self._drop(account)
        account.aliases.append(free)
        self._keep(account)

    def remove_alias(self, account: MailAccount, alias: str) -> None:
        """Remove a further address."""
        self._drop(account)
        account.aliases.remove(alias.lower())
        self._keep(account)

    def delete(self, account: MailAccount) -> None:
        """Remove it."""
        self._drop(account)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _free(self, address: str) -> str:
        wanted = address.lower()
        if wanted in self._by_address or wanted in self.taken:
            raise AddressTaken(wanted)
        return wanted

    def _keep(self, account: MailAccount) -> None:
        rows = [
            ("", account.name),
            *account.attributes.items(),
            *(("alias", each) for each in account.aliases),
        ]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO attributes VALUES (?, ?, ?)", [(account.id, *row) for row in rows]
            )
        self._remember(account)

    def _remember(self, account: MailAccount) -> None:
        self._by_id[account.id] = account
        for address in (account.name, *account.aliases):
            self._by_address[address] = account
        for key in _keys(account):
            self._index.setdefault(key, set()).add(account.id)

    def _drop(self, account: MailAccount) -> None:
        self._db.execute("DELETE FROM attributes WHERE id = ?", (account.id,))
        del self._by_id[account.id]
        for address in (account.name, *account.aliases):
            del self._by_address[address]
        for key in _keys(account):
            self._index[key].discard(account.id)

    def _load(self) -> None:
        rows = self._db.execute("SELECT id, name, value FROM attributes ORDER BY rowid").fetchall()
        found: dict[str, MailAccount] = {}
        for id_, name, value in rows:
            account = found.setdefault(id_, MailAccount(id_, ""))
            if not name:
                account.name = value
            elif name == "alias":
                account.aliases.append(value)
            else:
                account.attributes[name] = value
        for account in found.values():
            self._remember(account)


def _keys(account: MailAccount) -> Iterable[tuple[str, str]]:
    names = {*account.attributes, "mail", "zimbraMailAlias", "zimbraId"}
    return {(name.lower(), value.lower()) for name in names for value in account.values(name)}
