"""Export what is kept of a person as a readable document (GDPR, art. 15).

It has the tables' rows, and what targets show; no secrets (hashes, sealed values, digests, references) and
nothing of another person: of a doubt it shows that there is another, not who.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sqlalchemy import Connection, LargeBinary, MetaData, Table, or_, select

from consumers.kit.deadline import Deadline
from consumers.registry.people import People
from pipeline import accounts, audit
from pipeline.db import persons
from pipeline.errors import SesameError
from schemas.account import Account
from schemas.language import gettext, gettext_noop
from sesame.acts import acts
from sesame.acts.acts import ADMINISTRATORS, Actor, Report, act, utc
from sesame.acts.ports import Following, HasConnectors
from sesame.operations.people.known_persons import NoSuchStudent

TITLES: Final[Mapping[str, str]] = {
    "people": gettext_noop("Who you are, as the registrar says, and what you chose"),
    "enrolments": gettext_noop("Your enrolments, as the registrar says"),
    "teachings": gettext_noop("What you are taught, as the feeds say"),
    "accounts": gettext_noop("Your account, as services should have it"),
    "ledger": gettext_noop("Your logins and addresses, which nobody else is ever given"),
    "activation_requests": gettext_noop("When you asked for the account"),
    "charter_acceptances": gettext_noop("Which charter you accepted"),
    "cas_logins": gettext_noop("Your first login and your last one"),
    "cas_sessions": gettext_noop("Your sessions of single sign-on, as far as services told of them"),
    "web_sessions": gettext_noop("Your sessions of the students' pages"),
    "mail_proofs": gettext_noop("Messages with codes and links that were sent to you"),
    "welcome_messages": gettext_noop("The message of welcome"),
    "support_cases": gettext_noop("What was sent to the support desk"),
    "remarks": gettext_noop("What staff wrote about you"),
    "identity_doubts": gettext_noop("Doubts whether you are somebody else of a similar name"),
    "fingerprints": gettext_noop("By which such doubts are noticed (only digests are kept)"),
    "propagation": gettext_noop("How far services have your account"),
    "propagation_targets": gettext_noop("The same, service by service"),
    "target_states": gettext_noop("What each service was last seen to have"),
    "attempts": gettext_noop("What was done there, attempt by attempt"),
    "adoptions": gettext_noop("What services had of you before"),
    "adoption_questions": gettext_noop("Questions about what services had of you before"),
    "parked": gettext_noop("What is tried again later"),
    "dead_letters": gettext_noop("What went wrong about your account"),
    "webhook_events": gettext_noop("What other programs are to be told about your account"),
    "pending_facts": gettext_noop("What waits for the registrar or for a decision"),
    "held_closings": gettext_noop("What is not closed before somebody has looked"),
    "replay_students": gettext_noop("When staff had your account looked at again"),
    "restore_questions": gettext_noop("What was asked about you after a restore"),
    "feed_rows": gettext_noop("The registrar's lines about you, as imports compare them"),
    "group_members": gettext_noop("The teaching groups that a program has put you in"),
    "member_lists": gettext_noop("How often these groups were published, by year"),
    "accepted_requests": gettext_noop("What a program has sent about you, and is not answered yet"),
    "external_ids": gettext_noop("What the program that sends you calls you"),
    "teaching_rows": gettext_noop("The feeds' lines about you, likewise"),
    "accepted_values": gettext_noop("Values that look damaged and are right"),
    "timers": gettext_noop("When your account is looked at next"),
    "outbox": gettext_noop("What is about to be announced"),
    "vault": gettext_noop("Passwords on their way, sealed (not shown)"),
    "kept_hashes": gettext_noop("The hash of your last password, sealed (not shown)"),
    "audit_persons": gettext_noop("What staff did or looked at"),
}
"""Every table with rows of persons, with a title for the person; other packages' tables keep their names."""

_SECRET: Final = ("digest", "hash", "salt", "ref", "fingerprint", "sealed", "pair", "asked_by", "used_by")
_OURS: Final = (
    "about",
    "recent_facts",
    "lease_owner",
    "headers",
    "message",
    "bundle",
    "approved_by",
    "approved_plan",
)
"""Columns left out: internals, operators' names, and texts that may name others."""

_OPERATOR: Final = ("actor",)
_LOOK_S_MAX: Final = 10.0
_AUDIT_MAX: Final = 10_000


class ExportSection(Report):
    """The rows of one table. `title`: in the current language."""

    table: str
    title: str
    rows: list[dict[str, Any]]


class ShownByTarget(Report):
    """A target's present data; `unseen`: why it could not be read."""

    target: str
    objects: list[dict[str, Any]]
    unseen: str = ""


class PersonExport(Report):
    """The whole export. `elsewhere`: what is not in it, and where it is."""

    made_at: datetime
    student_numbers: list[str]
    sections: list[ExportSection]
    targets: list[ShownByTarget]
    elsewhere: list[str]


class Exporting(Following, HasConnectors, Protocol):
    """The site that exports."""

    @property
    def tables(self) -> MetaData:
        """The tables of every room."""


@act("privacy.export", ADMINISTRATORS)
def export(site: Exporting, actor: Actor, student_number: str) -> PersonExport:
    """Export what is kept of a person, and what targets show; audited.

    Raises:
        NoSuchStudent: nothing is kept.
        StoreUnavailable: it cannot be audited, so nothing is shown.
    """
    people = People(site.database)
    with site.database.read() as connection:
        numbers = people.numbers(connection, student_number)
        now = utc(site.database.now(connection))
        sections = [_section(connection, table, numbers) for table in _tables(site.tables)]
        found = [account for number in numbers if (account := accounts.find(connection, number))]
    sections = [section for section in sections if section.rows]
    if not sections:
        raise NoSuchStudent
    acts.note(site.database, actor, "privacy.export", student_number=student_number)
    return PersonExport(
        made_at=now,
        student_numbers=numbers,
        sections=sections,
        targets=[shown_by(site, target, found) for target in site.settings.targets],
        elsewhere=_elsewhere(keeps_last_hash=site.settings.vault.keep_last_hash),
    )


def _tables(metadata: MetaData) -> list[Table]:
    """Tables with rows of persons, in the order of `TITLES`."""
    order = list(TITLES)
    owned = [table for table in metadata.tables.values() if persons.declared(table).columns]
    return sorted(owned, key=lambda each: order.index(each.name) if each.name in order else len(order))


def _section(connection: Connection, table: Table, numbers: list[str]) -> ExportSection:
    columns = persons.declared(table).columns
    if table.name == "audit_persons":
        rows = [row for number in numbers for row in _acts(connection, number)]
    else:
        mine = or_(*(table.c[name].in_(numbers) for name in columns))
        found = connection.execute(select(table).where(mine)).mappings()
        rows = [_row(table, dict(row), numbers, columns) for row in found]
    return ExportSection(table=table.name, title=gettext(TITLES.get(table.name, table.name)), rows=rows)


def _acts(connection: Connection, number: str) -> list[dict[str, Any]]:
    entries = audit.entries(connection, student=number, limit=_AUDIT_MAX)
    return [{"at": utc(entry.at).isoformat(), "action": entry.action} for entry in entries]


def _row(
    table: Table, row: Mapping[str, Any], numbers: Iterable[str], columns: tuple[str, ...]
) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for column in table.c:
        name, value = column.name, row[column.name]
        if value is None or isinstance(column.type, LargeBinary) or _left_out(table, name):
            continue
        if name in columns and value not in numbers:
            shown[name] = gettext("another person")
        elif name in _OPERATOR:
            shown[name] = gettext("staff")
        else:
            shown[name] = _readable(name, value)
    return shown


def _left_out(table: Table, name: str) -> bool:
    if table.name == "fingerprints" and name == "value":
        return True
    hidden = name.endswith(("_digest", "_hash", "_ref", "_id", "_owner"))
    return hidden or name in (*_OURS, *_SECRET, "id")


def _readable(name: str, value: object) -> object:
    if isinstance(value, float) and name.endswith(("_at", "_since", "_until", "since", "until", "at")):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _open(json.loads(value))
        except ValueError:
            return value
    return value if isinstance(value, bool | int | float | str) else str(value)


def _open(value: Any) -> Any:
    """A JSON document without Sésame's own references."""
    if isinstance(value, dict):
        return {
            name: _open(each)
            for name, each in value.items()
            if each not in (None, [], {}, ()) and not name.endswith(("_ref", "_id"))
        }
    return [_open(each) for each in value] if isinstance(value, list) else value


def shown_by(site: HasConnectors, target: str, found: Iterable[Account]) -> ShownByTarget:
    """A target's data of these accounts, without objects of other numbers."""
    objects: list[dict[str, Any]] = []
    try:
        with site.connector(target) as connector:
            for account in found:
                seen = connector.read([account.at(target)], Deadline.after(_LOOK_S_MAX))
                said = seen.get(account.student_number, ())
                objects += [
                    _object(each.ref, each.fields, open_=each.open)
                    for each in (said if isinstance(said, list | tuple) else ())
                    if each.student_number == account.student_number
                ]
    except (SesameError, NotImplementedError, AttributeError) as error:
        return ShownByTarget(target=target, objects=[], unseen=str(error) or type(error).__name__)
    return ShownByTarget(target=target, objects=objects)


def _object(ref: str, fields: Mapping[str, Any], *, open_: bool | None) -> dict[str, Any]:
    shown = {
        name: value if isinstance(value, bool | int | float | str) else list(map(str, value))
        for name, value in fields.items()
        if value is not None and "password" not in name.lower() and "credential" not in name.lower()
    }
    return {"object": ref, **({} if open_ is None else {"open": open_}), **shown}


def _elsewhere(*, keeps_last_hash: bool) -> list[str]:
    return [
        gettext("The registrar's facts stay on the event log for 14 days; they are those above."),
        gettext("Backups hold the same, sealed under a key of yours, until they are removed."),
        gettext("Passwords are nowhere but hashed, in the directory and, the last one, in the vault.")
        if keeps_last_hash
        else gettext("Passwords are nowhere but hashed, in the directory."),
    ]
