"""A directory in memory behind the directory consumer's port. The server keeps attributes and knows nothing
of accounts; what to write, and whether it may be written, is the shipped `difference`'s, as in the LDAP
adapter; whether that was right is the `oracle`'s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from consumers.directory import difference
from consumers.directory.port import (
    Applied,
    ApplyResult,
    DesiredEntry,
    EntryUnsettled,
    GroupNames,
    Observed,
    ObservedEntry,
    PasswordsTold,
)
from consumers.kit.ldap_answers import Modification
from pipeline.errors import TargetDown
from schemas.account import Account
from tests.simulation import oracle
from tests.simulation.oracle_entry import entry_differs
from tests.simulation.targets.target import Fate, Target

_KEPT = ("uid", "supannEtuId", "userPassword")
"""What the server always keeps of a write: an entry's names, and a hash, which nobody can read back."""


@dataclass(frozen=True)
class Kept:
    """An entry as the server has it.

    Attributes:
        shown: the same, as the shipped code reads it.
    """

    attributes: Mapping[str, tuple[str, ...]]
    shown: ObservedEntry


class SimulatedDirectory(Target):
    """See `consumers.directory.port.Directory`.

    Attributes:
        passwords: hashes by their references, as they were sealed.
    """

    def __init__(self, *args: object) -> None:
        super().__init__("directory", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.entries: dict[str, Kept] = {}
        self.passwords: dict[str, str] = {}
        self._logins: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._shut_for: dict[str, int] = {}  # the account version that an entry was shut for last
        self._writes = 0

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """See `Directory.within`."""
        actor = self.schedule.current
        if actor is None:
            yield
            return
        actor.call_ends_at = self.schedule.now + seconds
        try:
            yield
        finally:
            actor.call_ends_at = float("inf")

    def apply(
        self, batch: Sequence[DesiredEntry], observed: Observed | None = None
    ) -> Mapping[str, ApplyResult]:
        """See `Directory.apply`."""
        self._begin()
        return {desired.student_number: self._apply(desired) for desired in batch}

    def close(self, observed: Observed) -> Mapping[str, ApplyResult]:
        """See `Directory.close`."""
        self._begin()
        return {number: self._close(number) for number in observed}

    def read(
        self,
        student_numbers: Sequence[str],
        adopted: Mapping[str, str] | None = None,
        renumbered: Mapping[str, str] | None = None,
    ) -> Observed:
        """See `Directory.read`."""
        self._begin()
        return {n: (self.entries[n].shown,) if n in self.entries else () for n in student_numbers}

    def holders(self, logins: Sequence[str]) -> Mapping[str, ObservedEntry]:
        """See `Directory.holders`."""
        self._begin()
        known = {login: self._logins[login] for login in logins if login in self._logins}
        return {login: self.entries[number].shown for login, number in known.items()}

    def groups(self, names: Sequence[str]) -> GroupNames:
        """See `Directory.groups`: each is there, and nobody else's."""
        return GroupNames(frozenset(name.lower() for name in names))

    def tells_of_passwords(self) -> PasswordsTold:
        return PasswordsTold(absent=True, times=True)

    def foresee(self, batch: Sequence[DesiredEntry], observed: Observed) -> Mapping[str, ApplyResult]:
        """See `Directory.foresee`: nothing here is anybody else's."""
        return {}

    def erase(self, numbers: Mapping[str, str]) -> Mapping[str, ApplyResult]:
        """See `Directory.erase`: nobody is erased here."""
        raise NotImplementedError

    def changes_since(self, mark: str) -> None:
        return None

    def dump(self) -> Iterator[ObservedEntry]:
        """See `Directory.dump`."""
        yield from (entry.shown for entry in self.entries.values())

    def disconnect(self) -> None:
        """See `Directory.disconnect`."""

    # --- for the mail server, and for the checker -------------------------------------------------

    def owner(self, address: str) -> str | None:
        """Whose address it is; None: nobody's whose mail is enabled."""
        number = self._addresses.get(address)
        if number is None:
            return None
        return number if self.entries[number].attributes.get("sesameMailEnabled") == ("TRUE",) else None

    def written_for(self, number: str) -> int:
        """The account version that the entry is at, or that it was shut for: closing alone does not say."""
        entry = self.entries.get(number)
        if entry is None:
            return 0
        version = int("".join(entry.attributes.get("sesameVersion", "0")))
        return max(version, self._shut_for.get(number, 0))

    def drift(self, number: str) -> bool:
        """See `Target.drift`."""
        entry = self.entries.get(number)
        if entry is not None:
            self._keep(number, {**entry.attributes, "displayName": ("By Hand",)})
        return entry is not None

    def differs(self, account: Account) -> str:
        """See `Target.differs`."""
        entry = self.entries.get(account.student_number)
        if entry is None:  # whoever may use nothing need not have one
            return "entry" if oracle.access(account) else ""
        password = self.passwords.get(account.credential_ref or "")
        return ", ".join(entry_differs(account, password, entry.attributes))

    # --- inside -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        actor = self.schedule.current
        if actor is not None and self.schedule.now > actor.call_ends_at:
            raise TargetDown("the call's time is used up", unknown=False)
        self.meet()

    def _apply(self, desired: DesiredEntry) -> ApplyResult:
        number = desired.student_number
        current = self.entries.get(number) or self.entries.get(self._logins.get(desired.login, ""))
        if current is None:
            new = {**difference.new_attributes(desired), "objectClass": desired.classes}
            changes: list[Modification] = [("replace", name, values) for name, values in new.items()]
        else:
            forbidden = difference.forbidden(desired, current.shown)
            if forbidden is not None:
                return forbidden
            changes = difference.changes(desired, current.shown)
            if not changes:
                return Applied(changed=False)
        return self._written(number, changes, current)

    def _close(self, number: str) -> ApplyResult:
        current = self.entries.get(number)
        if current is None:
            return Applied(changed=False)
        if current.shown.locked and current.shown.attributes.get("sesameMailEnabled") == ("FALSE",):
            return Applied(changed=False)

        def effect() -> bool:  # whatever was written since: nothing is asserted where access is shut
            now = self.entries[number]
            self._shut_for[number] = self._version_of(number)
            self._keep(number, _modified(now.attributes, difference.shutting(now.shown)))
            return True

        return self._answer(self.write(number, effect))

    def _written(self, number: str, changes: Sequence[Modification], current: Kept | None) -> ApplyResult:
        """Write under the assertion that the entry is as it was read (RFC 4528)."""

        def effect(changes: Sequence[Modification] = changes) -> bool | None:
            now = self.entries.get(number)
            if now is not current:
                return None
            self._keep(number, _modified(now.attributes if now is not None else {}, changes))
            return True

        def partly() -> bool | None:
            some = [change for change in changes if change[1] not in _KEPT]
            lost = self.weather.chance.choice(some) if some else None
            return effect([change for change in changes if change is not lost])

        return self._answer(self.write(number, effect, partly))

    def _answer(self, fate: Fate) -> ApplyResult:
        match fate:
            case Fate.BUSY:
                return EntryUnsettled("directory_busy", "51")
            case Fate.UNKNOWN:
                return EntryUnsettled("outcome_unknown", "no answer", unknown=True)
        return Applied(changed=True)

    def _keep(self, number: str, attributes: Mapping[str, tuple[str, ...]]) -> None:
        self._writes += 1
        present = {name: values for name, values in attributes.items() if values}
        raw = {name: [value.encode() for value in values] for name, values in present.items()}
        raw["entryCSN"] = [str(self._writes).encode()]
        dn = f"uid={present['uid'][0]},ou=people,dc=univ-exemple,dc=fr"
        self.entries[number] = Kept(present, difference.observed(dn, raw))
        self._logins[present["uid"][0]] = number
        for address in (*present.get("mail", ()), *present.get("supannAutreMail", ())):
            self._addresses[address] = number


def _modified(
    attributes: Mapping[str, tuple[str, ...]], changes: Sequence[Modification]
) -> dict[str, tuple[str, ...]]:
    """The attributes after a modify (RFC 4511, section 4.6)."""
    after = dict(attributes)
    for operation, name, values in changes:
        have = after.get(name, ())
        if operation == "replace":
            after[name] = values
        elif operation == "add":
            after[name] = (*have, *(value for value in values if value not in have))
        else:
            after[name] = tuple(value for value in have if values and value not in values)
    return after
