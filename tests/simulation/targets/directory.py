"""A directory in memory behind the directory consumer's port. What to write, and whether it may be written,
is worked out by the shipped `difference`; here it is only kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from consumers.directory import Profile, difference
from consumers.directory.entry import desired_entry, differences
from consumers.directory.port import (
    Applied,
    ApplyResult,
    Credential,
    DesiredEntry,
    ObservedEntry,
    Refused,
    Unsettled,
)
from pipeline.errors import TargetDown
from schemas.account import Account
from tests.simulation.targets.target import Fate, Target

PEOPLE = "ou=people,dc=univ-exemple,dc=fr"
PROFILE = Profile(uai="0751717J", scope="etu.univ-exemple.fr")


class SimulatedDirectory(Target):
    """See `consumers.directory.port.Directory`."""

    operation_s_max = 5.0

    def __init__(self, *args: object) -> None:
        super().__init__("directory", *args)  # type: ignore[arg-type]  # as `Target` takes them
        self.entries: dict[str, ObservedEntry] = {}
        self._logins: dict[str, str] = {}
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

    def apply(self, batch: Sequence[DesiredEntry]) -> Mapping[str, ApplyResult]:
        """See `Directory.apply`."""
        self._begin()
        return {desired.student_number: self._apply(desired) for desired in batch}

    def close(self, batch: Sequence[str]) -> Mapping[str, ApplyResult]:
        """See `Directory.close`."""
        self._begin()
        return {number: self._close(number) for number in batch}

    def read(
        self, student_numbers: Sequence[str], adopted: Mapping[str, str] | None = None
    ) -> Mapping[str, tuple[ObservedEntry, ...]]:
        """See `Directory.read`."""
        self._begin()
        return {n: (self.entries[n],) if n in self.entries else () for n in student_numbers}

    def foresee(
        self, batch: Sequence[DesiredEntry], observed: Mapping[str, tuple[ObservedEntry, ...]]
    ) -> Mapping[str, ApplyResult]:
        """See `Directory.foresee`: nothing here is anybody else's."""
        return {}

    def dump(self) -> Iterator[ObservedEntry]:
        """See `Directory.dump`."""
        yield from self.entries.values()

    def disconnect(self) -> None:
        """See `Directory.disconnect`."""

    def enabled(self, mail: str) -> bool:
        """Whether the mail server finds a user of this address here."""
        return any(
            entry.attributes.get("mail") == (mail,) and entry.attributes.get("sesameMailEnabled") == ("TRUE",)
            for entry in self.entries.values()
        )

    def written_for(self, number: str) -> int:
        """The account version that the entry is at, or that it was shut for: closing alone does not say."""
        entry = self.entries.get(number)
        return max(entry.version, self._shut_for.get(number, 0)) if entry is not None else 0

    def drift(self, number: str) -> bool:
        """See `Target.drift`."""
        entry = self.entries.get(number)
        if entry is not None:
            self._keep(replace(entry, attributes={**entry.attributes, "displayName": ("By Hand",)}))
        return entry is not None

    def differs(self, account: Account) -> str:
        """See `Target.differs`."""
        ref = account.credential_ref
        credential = Credential(ref, lambda: None) if ref is not None else None
        entry = self.entries.get(account.student_number)
        if entry is None:
            return "entry"
        return ", ".join(differences(desired_entry(account, PROFILE, credential), entry))

    # --- inside -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        actor = self.schedule.current
        if actor is not None and self.schedule.now > actor.call_ends_at:
            raise TargetDown("the call's time is used up", unknown=False)
        self.meet()

    def _apply(self, desired: DesiredEntry) -> ApplyResult:
        number = desired.student_number
        current = self.entries.get(number)
        if current is None:
            holder = self._logins.get(desired.login)
            if holder is not None:
                return Refused("identity_collision", "the login is somebody else's")
            entry = self._new(desired)
        else:
            forbidden = difference.forbidden(desired, current)
            if forbidden is not None:
                return forbidden
            if not difference.changes(desired, current):
                return Applied(changed=False)
            entry = self._changed(desired, current)
        return self._written(entry, current)

    def _close(self, number: str) -> ApplyResult:
        current = self.entries.get(number)
        if current is None or (current.locked and current.attributes["sesameMailEnabled"] == ("FALSE",)):
            return Applied(changed=False)

        def effect() -> bool:  # whatever was written since: nothing is asserted where access is shut
            now = self.entries[number]
            shut = {**now.attributes, "sesameMailEnabled": ("FALSE",)}
            self._shut_for[number] = self._version_of(number)
            self._keep(replace(now, attributes=shut, locked=True))
            return True

        return self._answer(self.write(number, effect))

    def _written(self, entry: ObservedEntry, current: ObservedEntry | None) -> ApplyResult:
        """Write under the assertion that the entry is as it was read (RFC 4528)."""
        number = entry.student_numbers[0]
        revision = current.revision if current is not None else None

        def effect() -> bool | None:
            now = self.entries.get(number)
            if (now.revision if now is not None else None) != revision:
                return None
            self._keep(entry)
            return True

        return self._answer(self.write(number, effect))

    def _answer(self, fate: Fate) -> ApplyResult:
        match fate:
            case Fate.BUSY:
                return Unsettled("directory_busy", "51")
            case Fate.UNKNOWN:
                return Unsettled("outcome_unknown", "no answer", unknown=True)
        return Applied(changed=True)

    def _keep(self, entry: ObservedEntry) -> None:
        self._writes += 1
        number = entry.student_numbers[0]
        self.entries[number] = replace(entry, revision=str(self._writes))
        self._logins[entry.logins[0]] = number

    def _new(self, desired: DesiredEntry) -> ObservedEntry:
        return ObservedEntry(
            dn=f"uid={desired.login},{PEOPLE}",
            logins=(desired.login,),
            student_numbers=(desired.student_number,),
            version=desired.version,
            revision="",
            classes=desired.classes,
            attributes=_present(desired),
            locked=desired.locked,
            credential_ref=_credential(desired, None),
        )

    def _changed(self, desired: DesiredEntry, current: ObservedEntry) -> ObservedEntry:
        return replace(
            current,
            version=desired.version,
            attributes=_present(desired),
            locked=desired.locked,
            credential_ref=_credential(desired, current.credential_ref),
        )


def _present(desired: DesiredEntry) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(values)) for name, values in desired.attributes.items() if values}


def _credential(desired: DesiredEntry, shown: str | None) -> str | None:
    """The reference that the entry shows afterwards: a hash and its reference are written together."""
    credential = desired.credential
    if credential is None or credential.ref == shown or credential.user_password() is None:
        return shown
    return credential.ref
