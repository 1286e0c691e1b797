"""The connector of RENATER Partage: a mail account for each student.

It finds an account by the student number that it carries, and by every name that the student wants, and reads
it with GetAccount before and after each write. Aliases that the account does not want are not ours: Sésame
never takes an address away.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from consumers.kit.connector import (
    Change,
    Connector,
    ConnectorContext,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason, read_reasons
from consumers.partage import objects as words
from consumers.partage.answers import Answer, BssMessage
from consumers.partage.bss import Bss, BssRefused
from consumers.partage.settings import PartageSettings
from pipeline.errors import Misconfigured, TargetDown
from pipeline.target import Description
from schemas.account import Account
from schemas.language import Language

_MAINTENANCE_S: Final = 600.0
_OUT_OF_ORDER: Final = (BssMessage.TEMPORARY, BssMessage.MAINTENANCE)
_PREDELETED: Final = "readytodelete_"
"""Prefix of accounts that wait to be deleted, by custom of Partage's administrators and their tools."""

PAGE_SIZE: Final = 200
"""Accounts per page of a listing: an answer of some hundred kilobytes."""


class PartageConnector(Connector[PartageSettings]):
    """Mail accounts of one domain of RENATER Partage."""

    section = PartageSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "La messagerie Partage", "en": "Partage mail"}
    level = "gold"
    lacks: ClassVar[Mapping[str, str]] = {
        "changes_since": "BSS lists no changes",
    }
    role = "mailbox"
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    owns = (*words.OWNS, "zimbraNotes")

    def __init__(self, context: ConnectorContext[PartageSettings]) -> None:
        super().__init__(context)
        self._bss = Bss(context)

    def describe(self) -> Description:
        """See `Connector.describe`."""
        return Description(self.name, self.settings.system, words.owned(self.settings))

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`."""
        return Wanted(words.wanted_fields(account, self.settings))

    # --- reading ------------------------------------------------------------------------------------

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`: one search for all, then a read of each."""
        try:
            found = list(self._listed(words.filter_of(accounts, self.settings), lambda: deadline))
        except BssRefused as error:
            if error.meaning in _OUT_OF_ORDER:
                raise self._fault(error) from error
            if len(accounts) == 1:
                return {accounts[0].student_number: _refused(error)}
            return {number: seen for one in accounts for number, seen in self.read([one], deadline).items()}

        def look(account: Account) -> Seen:
            return self._look(account, [each for each in found if words.concerns(each, account)], deadline)

        return one_by_one(accounts, deadline, look)

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        try:
            yield from self._listed("", self._time)
        except BssRefused as error:
            raise self._fault(error) from error

    def probe(self) -> None:
        """See `Connector.probe`: a search in Partage's directory that matches nothing."""
        query = f"(mail=sesame-probe@{self.settings.domain})"
        try:
            list(self._page(query, 0, 1, self._time()))
        except BssRefused as error:
            raise self._fault(error) from error

    def _fault(self, error: BssRefused) -> TargetDown | Misconfigured:
        """The error that a refused search means for the service as a whole."""
        if error.meaning in _OUT_OF_ORDER:
            return TargetDown(f"the service is out of order: {error.told}", unknown=False)
        return Misconfigured(
            f"the service refuses the key's search: {error.told}",
            remedy=f"Ask RENATER what the key of {self.name}.domain may do.",
        )

    def _look(self, account: Account, listed: Sequence[TargetObject], deadline: Deadline) -> Seen:
        mail = account.mail.lower()
        seen: dict[str, TargetObject] = {}
        for address in {mail: None} | {each.fields[words.NAME][0]: None for each in listed}:
            try:
                answer = self._bss.read("GetAccount", {"name": address}, deadline)
            except BssRefused as error:
                if error.meaning is BssMessage.NO_SUCH:
                    continue
                return _refused(error)
            for one in answer.accounts():
                if words.status_of(one) == words.IN_MAINTENANCE:
                    return Refused("partage_maintenance", "in maintenance", after_s=_MAINTENANCE_S)
                each = words.object_of(one, self.settings)
                seen[each.ref] = words.without_others(each, account)
        return [each for each in seen.values() if words.concerns(each, account)]

    def _listed(self, query: str, deadline: Callable[[], Deadline]) -> Iterator[TargetObject]:
        """Page by page, to the first empty one: a server may give fewer than requested."""
        offset, last = 0, ""
        while page := list(self._page(query, offset, PAGE_SIZE, deadline())):
            if page[0].ref == last:
                raise TargetDown("the service gives the same page again and again", unknown=False)
            last = page[0].ref
            yield from page
            offset += len(page)

    def _page(self, query: str, offset: int, limit: int, deadline: Deadline) -> Iterator[TargetObject]:
        form = {
            "limit": str(limit),
            "offset": str(offset),
            "ldap_query": query,
            "attrs": ",".join(("id", "mail", *words.owned(self.settings))),
            "sortby": "mail",
        }
        answer: Answer = self._bss.read("GetAllAccounts", form, deadline)
        return (words.object_of(each, self.settings) for each in answer.accounts())

    # --- writing ------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.apply`."""
        return self._each(changes, deadline, self._write)

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`."""
        return self._each(changes, deadline, self._shut)

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.erase`. An account that is no longer the one found is left alone."""
        refused: dict[str, Refused] = {}
        for each in found:
            try:
                self._erase(each, deadline)
            except BssRefused as error:
                refused[each.ref] = _refused(error)
        return refused

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._bss.disconnect()

    def _each(
        self, changes: Sequence[Change], deadline: Deadline, verb: Callable[[Change, Deadline], None]
    ) -> Mapping[str, Refused]:
        def said(change: Change) -> Refused | None:
            try:
                verb(change, deadline)
            except BssRefused as error:
                return _refused(error)
            return None

        return one_by_one(changes, deadline, said)

    def _write(self, change: Change, deadline: Deadline) -> None:
        form = words.form_of(change.fields)
        if change.open is not None:
            form[words.STATUS] = words.ACTIVE if change.open else self.settings.closed_status
        held = [] if change.found is None else [name for kind, name in change.found.names if kind == "mail"]
        if change.found is None:
            name = change.fields[words.NAME][0]
            new = {"name": name, "password": "", "userPassword": unusable_password()}
            given = {attribute: value for attribute, value in form.items() if value}
            self._bss.write("CreateAccount", {**new, **given}, deadline)
        else:
            name = self._renamed(change, change.found, held, deadline)
            if form:
                self._bss.write("ModifyAccount", {"name": name, **form}, deadline)
        for alias in change.fields.get(words.ALIASES, ()):
            if alias not in held[1:]:
                self._bss.write("AddAccountAlias", {"name": name, "alias": alias}, deadline)

    def _renamed(self, change: Change, found: TargetObject, held: Sequence[str], deadline: Deadline) -> str:
        name = found.fields[words.NAME][0]
        if words.NAME not in change.fields:
            return name
        new = change.fields[words.NAME][0]
        if new in held:  # already an alias of this account: Zimbra gives no address twice
            self._bss.write("RemoveAccountAlias", {"name": name, "alias": new}, deadline)
        self._bss.write("RenameAccount", {"name": name, "newname": new}, deadline)
        return new

    def _shut(self, change: Change, deadline: Deadline) -> None:
        assert change.found is not None  # noqa: S101  (for the type checker)
        name = change.found.fields[words.NAME][0]
        form = {"name": name, words.STATUS: self.settings.closed_status}
        self._bss.write("ModifyAccount", form, deadline)

    def _erase(self, found: TargetObject, deadline: Deadline) -> None:
        name = found.fields[words.NAME][0]
        try:
            answer = self._bss.read("GetAccount", {"name": name}, deadline)
        except BssRefused as error:
            if error.meaning is BssMessage.NO_SUCH:
                return
            raise
        now = [words.object_of(each, self.settings) for each in answer.accounts()]
        if [(each.ref, each.student_number) for each in now] != [(found.ref, found.student_number)]:
            raise BssRefused(BssMessage.OTHER, "the account is no longer the one that was found", wrote=False)
        if self.settings.erasure == "delete":
            self._bss.write("DeleteAccount", {"name": name}, deadline)
        else:
            self._predelete(now[0], deadline)

    def _predelete(self, found: TargetObject, deadline: Deadline) -> None:
        """Close and rename, as administrators do. Links to the student go last: a repetition finds it."""
        name = found.fields[words.NAME][0]
        shut = {"name": name, words.STATUS: "closed", words.HIDDEN: "TRUE"}
        self._bss.write("ModifyAccount", shut, deadline)
        for alias in found.fields[words.ALIASES]:
            self._bss.write("RemoveAccountAlias", {"name": name, "alias": alias}, deadline)
        if not name.startswith(_PREDELETED):
            new = f"{_PREDELETED}{datetime.now(UTC):%Y-%m-%d-%H-%M-%S}_{name}"
            self._bss.write("RenameAccount", {"name": name, "newname": new}, deadline)
            name = new
        principal = "".join(found.fields[words.PRINCIPAL])
        gone = {words.PRINCIPAL: f"DISABLED_{principal}", self.settings.number_attribute: ""}
        self._bss.write("ModifyAccount", {"name": name, **gone}, deadline)

    def _time(self) -> Deadline:
        return Deadline.after(self.settings.verb_s_max, self.context.monotonic)


def unusable_password() -> str:
    """The hash (`{SSHA512}`) of an unknown password. People log in by CAS or Shibboleth; one is required."""
    salt = secrets.token_bytes(8)
    digest = hashlib.sha512(secrets.token_bytes(32) + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode()


def _refused(error: BssRefused) -> Refused:
    match error.meaning:
        case BssMessage.MAINTENANCE:
            return Refused("partage_maintenance", error.told, after_s=_MAINTENANCE_S)
        case BssMessage.TAKEN:
            # An earlier try of ours, whose outcome is unknown, may have taken it: compare first.
            return Refused("partage_address_taken", error.told, unknown=True)
        case BssMessage.DOMAIN_UNKNOWN:
            return Refused("partage_domain_unknown", error.told, lasting=True)
        case BssMessage.TEMPORARY:
            return Refused("partage_unwell", error.told, unknown=error.wrote)
        case _:
            return Refused("partage_refused", error.told)
