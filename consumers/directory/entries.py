"""Read and write entries of the people's branch over LDAP. A repetition writes nothing.

The upsert that holds under concurrent writers (docs: ops/ldap/README.md): add when there is no entry; when
the name is taken (68), read that entry; write only the attributes that differ, with an assertion (RFC 4528)
that the entry did not change since it was read; when it did (122), read again. A change of unique attributes
is guarded by values instead of an assertion (see `difference.UNIQUE`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from consumers.directory import difference
from consumers.directory.answers import NUMBER_TAKEN, changed, reading_refused, taken
from consumers.directory.entry import CREDENTIAL, classes_of, numbers_of
from consumers.directory.groups import DirectoryGroups, DynamicGroups, StaticGroups
from consumers.directory.objects import (
    DUMPED,
    LOCK,
    READ,
    EntryObject,
    GroupNames,
    in_groups,
    is_doubtful,
    ref_of,
    shown,
    texts,
    without_password,
)
from consumers.directory.settings import DirectorySettings
from consumers.kit.connector import LOCK_IS_ANOTHER, Change, Changes, Refused
from consumers.kit.handler import COLLISION
from consumers.kit.ldap import any_of, name_dn, written_since
from consumers.kit.ldap_answers import Code, LdapAnswer, Modification, normal
from consumers.kit.ldap_patience import PatientLdapClient
from schemas.account import Account

_CONFLICTS_MAX: Final = 16
_CONFLICTS: Final = frozenset(
    {Code.ASSERTION_FAILED, Code.NO_SUCH_OBJECT, Code.NO_SUCH_ATTRIBUTE, Code.VALUE_EXISTS}
)
_TOGETHER: Final = 20  # students whose values are looked for in one search
_PAGE_SIZE: Final = 40  # an entry takes ldap3 some 50 kB
_CONTENDED: Final = Refused("directory_conflict", "somebody else kept changing the entry")


class Entries:
    """The entries of one branch, and their groups. Thread-safe, as its client is."""

    def __init__(self, client: PatientLdapClient, settings: DirectorySettings) -> None:
        self._client = client
        self._people = settings.people_dn
        self._classes = classes_of(settings)
        self._groups: DirectoryGroups = (
            StaticGroups(client, settings.groups_dn, client.endpoint.bind_dn)
            if settings.group_kind == "static"
            else DynamicGroups(client, settings.groups_dn, settings.people_dn)
        )

    # --- reading --------------------------------------------------------------------------------------

    def of(
        self, accounts: Sequence[Account], adopted: Mapping[str, str]
    ) -> dict[str, tuple[EntryObject, ...]]:
        """The entries that concern each student: theirs, else the one of their login.

        Theirs carry the number: none, one, or after tampering several. One that shows another number is found
        by its login. An adopted one counts if it carries no number and no other entry carries this one.
        """
        found: dict[str, dict[str, EntryObject]] = {account.student_number: {} for account in accounts}
        renumbered = [account.login for account in accounts if account.shown_number is not None]
        for name, values in (("supannEtuId", list(found)), ("uid", renumbered)):
            for entry in self.having(name, values):
                for number in entry.student_numbers:
                    if number in found:
                        found[number][entry.ref] = entry
        for number in adopted.keys() & found.keys():
            entry_of_old = None if found[number] else self._client.had(partial(self._by_dn, adopted[number]))
            if entry_of_old is not None and not entry_of_old.student_numbers:
                found[number][entry_of_old.ref] = entry_of_old
        logins = {account.student_number: account.login.lower() for account in accounts}
        others = self.having("uid", [logins[number] for number, several in found.items() if not several])
        holders = {login.lower(): entry for entry in others for login in entry.logins}
        for number, login in logins.items():
            if not found[number] and login in holders:
                found[number][login] = holders[login]
        return {number: tuple(map(self._with_groups, several.values())) for number, several in found.items()}

    def having(self, name: str, values: Sequence[str]) -> list[EntryObject]:
        """The entries that have any of these values."""
        found = [
            shown(*row, self._classes) for row in self._client.find_any(self._people, name, values, READ)
        ]
        doubtful = [login for each in found if is_doubtful(each) for login in each.logins]
        lacking = self._lacking(any_of("uid", doubtful)) if doubtful else ()
        return [
            without_password(each) if is_doubtful(each) and each.dn in lacking else each for each in found
        ]

    def dump(self, criterion: str = "(uid=*)") -> Iterator[EntryObject]:
        """All entries that meet a filter, in bounded memory. Raises TargetDown."""
        lacking: Container[str] | None = None  # one query for all entries
        groups = self._groups.everybody()
        for row in self._client.everybody(self._people, criterion, DUMPED, page_size=_PAGE_SIZE):
            entry = shown(*row, self._classes)
            if is_doubtful(entry):
                lacking = self._lacking(f"({CREDENTIAL}=*)") if lacking is None else lacking
                entry = without_password(entry) if entry.dn in lacking else entry
            yield entry if groups is None else in_groups(entry, groups.get(normal(entry.dn), ()))

    def changes_since(self, mark: str) -> Changes[EntryObject] | None:
        """Entries changed by other writers; see `Connector.changes_since`."""

        def removed() -> tuple[LdapAnswer, str, bool, bool]:
            found = self._client.removed_since(self._people, mark)
            if found[0].code not in (Code.SUCCESS, Code.CRITICAL_EXTENSION):
                raise reading_refused(found[0])
            return found

        answer, cookie, gone, behind = self._client.had(removed)
        if answer.code == Code.CRITICAL_EXTENSION:
            return None
        if cookie == mark or not mark:
            return Changes(cookie)
        criterion = written_since(mark, but_by=self._client.endpoint.bind_dn)
        return Changes(cookie, self.dump(f"(&(uid=*){criterion})"), gone, behind)

    def taken(self, batch: Sequence[Change]) -> Mapping[str, Refused]:
        """Refuse students who would get another entry's value, by number. See `difference.UNIQUE`."""
        found: dict[str, Refused] = {}
        for start in range(0, len(batch), _TOGETHER):
            part = [(change, difference.new_values(change)) for change in batch[start : start + _TOGETHER]]
            holders = self._holders([value for _, values in part for value in values])
            for change, values in part:
                own = {"" if change.found is None else change.found.ref}
                for name, value in values:
                    others = (holders.get((other, value.lower()), set()) for other in difference.UNIQUE[name])
                    if any(each - own for each in others):
                        found.setdefault(change.account.student_number, taken([name]))
        return found

    def _holders(self, values: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], set[str]]:
        """The `ref` of the entries that have a value, by attribute and lower-case value."""
        wanted: dict[str, set[str]] = {}
        for name, value in values:
            for other in difference.UNIQUE[name]:
                wanted.setdefault(other, set()).add(value)
        criterion = "(|" + "".join(any_of(name, sorted(each)) for name, each in wanted.items()) + ")"
        holders: dict[tuple[str, str], set[str]] = {}
        for dn, raw in self._client.find(self._people, criterion, list(wanted)) if wanted else ():
            for name in wanted:
                for value in texts(raw, name):
                    holders.setdefault((name, value.lower()), set()).add(ref_of(dn))
        return holders

    def groups(self, accounts: Iterable[Account]) -> GroupNames:
        """Which of these students' wanted groups exist, in one search."""
        names = sorted({group.key for account in accounts for group in account.groups if group.met})
        return self._client.had(partial(self._groups.among, names)) if names else GroupNames()

    def any(self, base: str, criterion: str) -> bool:
        """True if an entry below `base` meets a filter."""
        return bool(self._client.had(lambda: next(self._client.pages(base, criterion, ["1.1"], page_size=1))))

    def _lacking(self, whose: str) -> set[str]:
        """The DNs of entries without a password. A filter finds them: none is read."""
        return {dn for dn, _ in self._client.find(self._people, f"(&{whose}(!(userPassword=*)))", ["1.1"])}

    def _with_groups(self, entry: EntryObject) -> EntryObject:
        groups = self._client.had(partial(self._groups.of, entry.dn))
        return entry if groups is None else in_groups(entry, groups)

    def _by_dn(self, dn: str) -> EntryObject | None:
        raw = self._client.entry(dn, READ)
        return None if raw is None else shown(dn, raw, self._classes)

    # --- writing --------------------------------------------------------------------------------------

    def write(self, adopted: Mapping[str, str], change: Change) -> Refused | None:
        """Bring one student's entry and memberships to the wanted state.

        Nothing else is written. An entry is created when its name is free. An existing one is changed only if
        it carries the student number, or was adopted for it and carries none, which it then gets; and only if
        it did not change since it was read (else it is read again). A group never names a missing entry.

        Args:
            adopted: the DN of the adopted entry by student number.
            change: with all wanted fields.
        """
        account, place = change.account, name_dn("uid", change.account.login, self._people)
        mine = adopted.get(account.student_number)
        found = change.found if isinstance(change.found, EntryObject) else None
        if found is None and mine is not None:
            found = self._client.had(partial(self._by_dn, mine))
        dn, wanted = place if found is None else found.dn, {g.key: g.name for g in account.groups if g.met}
        settled = self._client.settled
        return (
            settled(partial(self._groups.ensure, wanted))
            or settled(partial(self._upsert, change, place, dn, mine, [found]))
            or settled(partial(self._groups.settle, dn, wanted))
        )

    def _upsert(
        self, change: Change, place: str, dn: str, adopted: str | None, read: list[EntryObject | None]
    ) -> Refused | None:
        # What was read before a failed attempt is stale: the server may have carried that attempt out.
        current, by_values = read.pop() if read else self._by_dn(dn), False
        for _ in range(_CONFLICTS_MAX):
            if current is None:
                answer = self._client.add(place, self._classes, difference.new_attributes(change))
                if answer.code != Code.ENTRY_EXISTS:
                    return self._unless_moving(change.account, changed(answer))
                current = self._by_dn(place)
                continue
            forbidden = difference.forbidden(change.account, current, adopted)
            if forbidden is not None:
                return forbidden
            changes = difference.changes(change, current)
            if not changes:
                return None
            by_values = by_values or any(name in difference.UNIQUE for _, name, _ in changes)
            answer = self._modify(current, changes, by_values=by_values)
            if not _conflicts(answer):
                return self._unless_moving(change.account, changed(answer))
            before, current = current, self._by_dn(current.dn)
            # Unchanged, yet the assertion failed: this server cannot compare (see UNIQUE).
            by_values = by_values or (current is not None and current.revision == before.revision)
        return _CONTENDED

    def _modify(self, current: EntryObject, changes: list[Modification], *, by_values: bool) -> LdapAnswer:
        if by_values:
            return self._client.modify(current.dn, difference.guarded_by_values(changes, current))
        return self._client.modify(current.dn, changes, revision=current.revision)

    def _unless_moving(self, account: Account, refused: Refused | None) -> Refused | None:
        """Retry if another entry of the person has yet to give up its number."""
        if refused is None or refused.cause != NUMBER_TAKEN:
            return refused
        if not any(holder.version for holder in self.having("supannEtuId", numbers_of(account))):
            return refused
        return Refused(_CONTENDED.cause, "another entry of the same person has yet to give its number up")

    def shut(self, found: EntryObject) -> Refused | None:
        """Shut access to an entry in one small write, whatever changed since it was read."""
        changes = difference.shutting(found)
        if not changes:
            return None
        return self._client.settled(lambda: changed(self._client.modify(found.dn, changes)))

    def unlock(self, found: EntryObject) -> Refused | None:
        """Delete an entry's lock, by its value; ppolicy then forgets wrong passwords."""
        if found.lockout is None:
            return LOCK_IS_ANOTHER
        changes: list[Modification] = [("delete", LOCK, (found.lockout.value,))]

        def write() -> Refused | None:
            answer = self._client.modify(found.dn, changes)
            return LOCK_IS_ANOTHER if _conflicts(answer) else changed(answer)

        return self._client.settled(write)

    def erase(self, dn: str, number: str) -> Refused | None:
        """Remove an entry of this number, its memberships first. It may be repeated."""
        return self._client.settled(partial(self._erase, dn, number))

    def _erase(self, dn: str, number: str) -> Refused | None:
        for _ in range(_CONFLICTS_MAX):
            current = self._by_dn(dn)
            if current is None:
                return None
            if number not in current.student_numbers:
                told = "the entry does not carry this student number any more"
                return Refused(COLLISION, told, lasting=True)
            if (refused := self._groups.settle(dn, {})) is not None:
                return refused
            answer = self._client.delete(dn, revision=current.revision)
            if not _conflicts(answer):
                return changed(answer)
        return _CONTENDED


def _conflicts(answer: LdapAnswer) -> bool:
    taken = answer.code == Code.CONSTRAINT and answer.diagnostic.startswith("sesameVersion:")
    return taken or answer.code in _CONFLICTS
