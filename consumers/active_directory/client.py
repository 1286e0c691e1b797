"""Connections to a domain controller. Answers become errors of the engine or refusals of a student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from consumers.active_directory import answers
from consumers.active_directory.answers import AdRefused
from consumers.active_directory.objects import (
    GUID,
    LOGIN,
    UPN,
    login_of,
    looked_at,
    principal_of,
    ref_of,
)
from consumers.active_directory.settings import ActiveDirectorySettings
from consumers.kit.connector import ConnectorContext, secret_of
from consumers.kit.ldap import Row, any_of, name_dn
from consumers.kit.ldap_answers import Code, LdapAnswer, Operation, Raw
from consumers.kit.ldap_patience import PatientLdapClient, endpoint_of
from pipeline.errors import Misconfigured
from schemas.account import Account


class DomainController(PatientLdapClient):
    """One domain controller. Thread-safe: one connection per thread. It tries each call once.

    Reading raises TargetDown or Misconfigured; writing these, with `unknown` where no answer came, and
    AdRefused.
    """

    def __init__(self, context: ConnectorContext[ActiveDirectorySettings]) -> None:
        self._settings = context.settings
        password = partial(secret_of, context.secret("bind_password"))
        super().__init__(endpoint_of(context, password), answers, monotonic=context.monotonic, attempts_max=1)

    # --- reading --------------------------------------------------------------------------------------

    def concerned(self, accounts: Sequence[Account]) -> list[Row]:
        """All entries of the domain that may concern one of these accounts. See `objects.concerns`."""
        names: dict[str, list[str]] = {self._settings.number_attribute: [], LOGIN: [], UPN: []}
        for account in accounts:
            names[self._settings.number_attribute].append(account.student_number)
            names[UPN].append(principal_of(account, self._settings))
            if (login := login_of(account)) is not None:
                names[LOGIN].append(login)
        criterion = "".join(any_of(name, values) for name, values in names.items() if values)
        if not criterion:
            return []
        return self.find(self._settings.domain_dn, f"(|{criterion})", looked_at(self._settings))

    def deleted_since(self, usn: int) -> bool:
        """True if we see that a person was deleted since this update sequence number."""
        criterion = f"(&(isDeleted=TRUE)(objectClass=user)(!(objectClass=computer))(uSNChanged>={usn}))"
        base = f"CN=Deleted Objects,{self._settings.domain_dn}"
        answer, rows = self.had(partial(self.search, base, criterion, ["1.1"], deleted=True))
        return bool(rows) or answer.code == Code.SIZE_LIMIT

    def mark(self) -> tuple[str, int]:
        """This controller's database identity and highest update sequence number.

        [MS-ADTS] 3.1.1.3.2. Numbers of another controller mean nothing here.
        """
        root = self._root(["highestCommittedUSN", "dsServiceName"])
        settings = self.shown(root["dsServiceName"][0].decode(), ["invocationId"]) or {}
        invocation = b"".join(settings.get("invocationId", ()))
        return invocation.hex(), int(root["highestCommittedUSN"][0])

    def shown(self, dn: str, attributes: Sequence[str]) -> Raw | None:
        """One entry by its name; None: there is none that we may see."""
        return self.had(partial(self.entry, dn, attributes))

    def _root(self, attributes: Sequence[str]) -> Raw:
        root = self.shown("", attributes)
        if root is None:
            raise Misconfigured("the domain controller does not show its root DSE")
        return root

    def is_indexed(self, attribute: str) -> bool:
        """Whether an attribute has an index, as far as shown ([MS-ADTS] 2.2.10)."""
        schema = self._root(["schemaNamingContext"])["schemaNamingContext"][0].decode()
        rows = self.find_any(schema, "lDAPDisplayName", [attribute], [_SEARCH_FLAGS])
        flags = [int(value) for _, raw in rows for value in raw.get(_SEARCH_FLAGS, ())]
        return all(each & _INDEXED for each in flags)

    def may_write(self, names: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The attributes that we may write, by objectGUID ([MS-ADTS] 3.1.1.4.5.21)."""
        attributes = [GUID, _MAY_WRITE]
        rows = self.find_any(self._settings.domain_dn, "distinguishedName", names, attributes)
        return {ref_of(raw): frozenset(name.decode() for name in raw.get(_MAY_WRITE, ())) for _, raw in rows}

    @staticmethod
    def name_in(branch: str, login: str) -> str:
        """The distinguished name of a new user."""
        return name_dn("CN", login, branch)

    # --- writing --------------------------------------------------------------------------------------

    def make(self, dn: str, classes: Sequence[str], attributes: Mapping[str, Sequence[str | bytes]]) -> None:
        """Create an entry."""
        self._written(partial(self.add, dn, classes, attributes))

    def change(
        self,
        dn: str,
        changes: Sequence[tuple[Operation, str, Sequence[str | bytes]]],
        *,
        permissive: bool = False,
    ) -> None:
        """Change an entry, all or nothing."""
        self._written(partial(self.modify, dn, changes, permissive=permissive))

    def move(self, dn: str, rdn: str) -> None:
        """Give an entry another name in the same place."""
        self._written(partial(self.rename, dn, rdn))

    def remove(self, dn: str) -> None:
        """Delete an entry."""
        self._written(partial(self.delete, dn))

    def _written(self, write: Callable[[], LdapAnswer]) -> None:
        answer = self.had(write)
        if answer.code != Code.SUCCESS:
            raise AdRefused(answer)


_MAY_WRITE: Final = "allowedAttributesEffective"
_SEARCH_FLAGS: Final = "searchFlags"
_INDEXED: Final = 0x1
