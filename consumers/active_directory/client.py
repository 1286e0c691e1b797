"""Connections to a domain controller.

Its answers are translated to the engine's or the student's terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from consumers.active_directory.answers import AdRefused, bind_refused, reading_refused
from consumers.active_directory.objects import (
    GUID,
    LOGIN,
    UPN,
    login_of,
    principal_of,
    read_attributes,
    ref_of,
)
from consumers.active_directory.settings import ActiveDirectorySettings
from consumers.kit.connector import ConnectorContext
from consumers.kit.deadline import Deadline
from consumers.kit.ldap import Endpoint, LdapClient, Row, any_of, name_dn
from consumers.kit.ldap_answers import Code, LdapAnswer, Lost, Operation, Raw
from pipeline.errors import Misconfigured, SesameError, TargetDown
from schemas.account import Account


class DomainController(LdapClient):
    """One domain controller. Thread-safe: one connection per thread.

    Reading raises TargetDown or Misconfigured; writing these, with `unknown` where no answer came, and
    AdRefused. Each method with a deadline raises OutOfTime before it begins.
    """

    def __init__(self, context: ConnectorContext[ActiveDirectorySettings]) -> None:
        settings, secret = context.settings, context.secret("bind_password")
        self._settings = settings

        def password() -> str:
            try:
                return secret()
            except SesameError as error:
                raise Misconfigured(str(error), remedy=error.remedy) from error

        super().__init__(
            Endpoint(
                uri=settings.uri,
                bind_dn=settings.bind_dn,
                password=password,
                ca_file=settings.ca_file,
                connect_timeout_s=math.ceil(settings.connect_timeout_s),
                receive_timeout_s=math.ceil(settings.timeout_s),
                read_only=context.read_only,
            ),
            monotonic=context.monotonic,
        )

    def bind_refused(self, answer: LdapAnswer) -> SesameError:
        """See `LdapClient.bind_refused`."""
        return bind_refused(answer)

    def reading_refused(self, answer: LdapAnswer) -> SesameError:
        """See `LdapClient.reading_refused`."""
        return reading_refused(answer)

    # --- reading --------------------------------------------------------------------------------------

    def find(self, base: str, criterion: str, attributes: Sequence[str], deadline: Deadline) -> list[Row]:
        """The entries below a branch that meet a filter; at most a server's page (1,000)."""
        deadline.left_s()
        with _answered(unknown=False):
            return self.rows(base, criterion, attributes)

    def find_any(self, accounts: Sequence[Account], deadline: Deadline) -> list[Row]:
        """All in the domain that may concern one of these accounts.

        See `objects.concerns`.
        """
        names: dict[str, list[str]] = {self._settings.number_attribute: [], LOGIN: [], UPN: []}
        for account in accounts:
            names[self._settings.number_attribute].append(account.student_number)
            names[UPN].append(principal_of(account, self._settings))
            if (login := login_of(account)) is not None:
                names[LOGIN].append(login)
        criterion = "".join(any_of(name, values) for name, values in names.items() if values)
        wanted = read_attributes(self._settings)
        return self.find(self._settings.domain_dn, f"(|{criterion})", wanted, deadline)

    def everybody(
        self, base: str, criterion: str, attributes: Sequence[str], *, page_size: int
    ) -> Iterator[Row]:
        """The same, without a limit, a page at a time."""
        with _answered(unknown=False):
            for rows in self.pages(base, criterion, attributes, page_size=page_size):
                yield from rows

    def deleted_since(self, usn: int) -> bool:
        """Whether a person's account was deleted since this update sequence number.

        As far as we may see deleted objects (by default only administrators may).
        """
        criterion = f"(&(isDeleted=TRUE)(objectClass=user)(!(objectClass=computer))(uSNChanged>={usn}))"
        base = f"CN=Deleted Objects,{self._settings.domain_dn}"
        with _answered(unknown=False):
            answer, rows = self.search(base, criterion, ["1.1"], deleted=True)
        return bool(rows) or answer.code == Code.SIZE_LIMIT

    def mark(self) -> tuple[str, int]:
        """This controller's database identity and highest update sequence number.

        [MS-ADTS] 3.1.1.3.2. Numbers of another controller mean nothing here.
        """
        root = self.shown("", ["highestCommittedUSN", "dsServiceName"])
        if root is None:
            raise Misconfigured("the domain controller does not show its root DSE")
        settings = self.shown(root["dsServiceName"][0].decode(), ["invocationId"]) or {}
        invocation = b"".join(settings.get("invocationId", ()))
        return invocation.hex(), int(root["highestCommittedUSN"][0])

    def shown(self, dn: str, attributes: Sequence[str]) -> Raw | None:
        """One entry by its name; None: there is none that we may see."""
        with _answered(unknown=False):
            return self.entry(dn, attributes)

    def may_write(self, names: Sequence[str], deadline: Deadline) -> Mapping[str, frozenset[str]]:
        """The attributes that we may write of each of these entries, by objectGUID.

        [MS-ADTS] 3.1.1.4.5.21.
        """
        criterion = any_of("distinguishedName", names)
        rows = self.find(self._settings.domain_dn, criterion, [GUID, _MAY_WRITE], deadline)
        return {ref_of(raw): frozenset(name.decode() for name in raw.get(_MAY_WRITE, ())) for _, raw in rows}

    @staticmethod
    def name_in(branch: str, login: str) -> str:
        """The distinguished name of a new user."""
        return name_dn("CN", login, branch)

    # --- writing --------------------------------------------------------------------------------------

    def make(
        self,
        dn: str,
        classes: Sequence[str],
        attributes: Mapping[str, Sequence[str | bytes]],
        deadline: Deadline,
    ) -> None:
        """Create an entry."""
        deadline.left_s()
        with _answered(unknown=True):
            _expect(self.add(dn, classes, attributes))

    def change(
        self,
        dn: str,
        changes: Sequence[tuple[Operation, str, Sequence[str | bytes]]],
        deadline: Deadline,
        *,
        permissive: bool = False,
    ) -> None:
        """Change an entry, all or nothing."""
        deadline.left_s()
        with _answered(unknown=True):
            _expect(self.modify(dn, changes, permissive=permissive))

    def move(self, dn: str, rdn: str, deadline: Deadline) -> None:
        """Give an entry another name in the same place."""
        deadline.left_s()
        with _answered(unknown=True):
            _expect(self.rename(dn, rdn))

    def remove(self, dn: str, deadline: Deadline) -> None:
        """Delete an entry."""
        deadline.left_s()
        with _answered(unknown=True):
            _expect(self.delete(dn))


_MAY_WRITE: Final = "allowedAttributesEffective"


@contextmanager
def _answered(*, unknown: bool) -> Iterator[None]:
    try:
        yield
    except Lost as error:
        raise TargetDown(str(error), unknown=unknown) from error


def _expect(answer: LdapAnswer) -> None:
    if answer.code != Code.SUCCESS:
        raise AdRefused(answer)
