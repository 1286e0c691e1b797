"""The connector of Koha: a patron for each student.

Access is the expiry date: restrictions are read-only. What is not in `owns` is the librarians', once made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

from consumers.kit.connector import (
    Change,
    Changes,
    Connector,
    ConnectorContext,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    find_own,
    one_by_one,
)
from consumers.kit.deadline import Deadline
from consumers.kit.reasons import Reason, read_reasons
from consumers.koha.patrons import Patron, Patrons
from consumers.koha.settings import KohaSettings
from schemas.account import Account
from schemas.language import Language

_EXPIRY: Final = "expiry_date"


class KohaConnector(Connector[KohaSettings]):
    """Patrons of one Koha."""

    section = KohaSettings
    title: ClassVar[Mapping[Language, str]] = {"fr": "La bibliothèque", "en": "The library"}
    level = "gold"
    reasons: ClassVar[Mapping[str, Reason]] = read_reasons(Path(__file__).with_name("reasons.toml"))
    owns = ("userid", "email", "surname", "firstname", _EXPIRY)
    keeps = ("Koha's deleted patrons, until they are purged there", "its own logs and backups")

    def __init__(self, context: ConnectorContext[KohaSettings]) -> None:
        super().__init__(context)
        self._patrons = Patrons(context)

    def wanted(self, account: Account) -> Wanted:
        """See `Connector.wanted`. A date that is past is shown as none, so a shut account wants none."""
        person = account.person
        values = {"userid": account.login, "email": account.mail, "surname": person.filed_name}
        values["firstname"] = person.shown_given_name.strip() if person.family_name.strip() else ""
        until = str(account.valid_until or "") if account.access_open else ""
        if until >= _today() or not account.access_open:  # else Koha's stays: no end, or the guard's hold
            values[_EXPIRY] = until
        return Wanted({name: (value,) if value else () for name, value in values.items()})

    def read(self, accounts: Sequence[Account], deadline: Deadline) -> Mapping[str, Seen]:
        """See `Connector.read`."""

        def look(account: Account) -> Seen:
            number = account.student_number
            adopted = [{"patron_id": int(ref)} for ref in self.adopted_refs([number]).values()]
            either = [{self.settings.number_field: number}, {"userid": account.login}, *adopted]
            return [self._shown(each) for each in self._patrons.all({"-or": either}, deadline)]

        return one_by_one(accounts, deadline, look)

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.apply`."""

        def write(change: Change) -> Refused | None:
            fields: Patron = {name: values[0] if values else None for name, values in change.fields.items()}
            fields[self.settings.number_field] = change.account.student_number
            if change.found is None:
                codes = {"library_id": self.settings.library, "category_id": self.settings.category}
                return self._patrons.write(fields | codes, deadline)
            if change.open:
                fields.setdefault(_EXPIRY, None)  # without an end
            return self._replace(change, fields, deadline)

        return one_by_one(changes, deadline, write)

    def close(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, Refused]:
        """See `Connector.close`."""
        past = {_EXPIRY: _today(-2)}  # over in every time zone
        return one_by_one(changes, deadline, lambda change: self._replace(change, past, deadline))

    def _replace(self, change: Change, fields: Patron, deadline: Deadline) -> Refused | None:
        patron = self._patrons.one(change.found.ref, deadline) if change.found else None
        if patron is None:
            return Refused("koha_error", "the patron is gone since it was read")
        number = change.account.student_number
        if not find_own(change.account, [self._shown(patron)], self.adopted_refs([number]).get(number)):
            return Refused("koha_refused", "the patron carries another number", lasting=True)
        return self._patrons.write(patron | fields, deadline)

    def objects(self) -> Iterator[TargetObject]:
        """See `Connector.objects`."""
        return map(self._shown, self._patrons.all({}))

    def changes_since(self, mark: str) -> Changes[TargetObject] | None:
        """See `Connector.changes_since`: by `updated_on`, the mark's second too. Fewer: one was deleted."""
        newest, count = self._patrons.newest()
        since, _, before = mark.partition(" ")
        found = self._patrons.all({"updated_on": {">=": since}}) if since else ()
        gone = bool(since) and (count < int(before) or newest < since)
        return Changes(f"{newest} {count}", map(self._shown, found), gone)

    def erase(self, found: Sequence[TargetObject], deadline: Deadline) -> Mapping[str, Held | Refused]:
        """See `Connector.erase`."""
        return one_by_one(found, deadline, lambda each: self._patrons.delete(each.ref, deadline))

    def probe(self) -> None:
        """See `Connector.probe`: the patron that changed last."""
        self._patrons.newest()

    def disconnect(self) -> None:
        """See `Connector.disconnect`."""
        self._patrons.http.disconnect()

    def _shown(self, patron: Patron) -> TargetObject:
        open_ = not patron[_EXPIRY] or patron[_EXPIRY] >= _today()
        values = patron if open_ else patron | {_EXPIRY: None}
        names = (("login", "userid"), ("mail", "email"))
        evidence = (("family", "surname"), ("given", "firstname"), ("birth", "date_of_birth"))
        return TargetObject(
            ref=str(patron["patron_id"]),
            student_number=patron[self.settings.number_field] or "",
            fields={name: (values[name],) if values[name] else () for name in self.owns},
            open=open_,
            names=tuple((kind, patron[name]) for kind, name in names if patron[name]),
            evidence={kind: patron[name] for kind, name in evidence if patron[name]},
        )


def _today(days: int = 0) -> str:
    """The present day in UTC, or one so many days later, as Koha writes it."""
    return str(datetime.now(UTC).date() + timedelta(days=days))
