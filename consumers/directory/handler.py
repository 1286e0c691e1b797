"""The directory's target handler: accounts in, entries written and read back, outcomes out.

It goes first of all targets: the mail server looks its users up in the directory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from consumers.directory.difference import forbidden
from consumers.directory.entry import (
    GROUPS,
    OWNED,
    Profile,
    canonical,
    desired_entry,
    differences,
    user_password,
)
from consumers.directory.port import (
    Applied,
    ApplyResult,
    Credential,
    DesiredEntry,
    Directory,
    EntryRefused,
    EntryUnsettled,
    ObservedEntry,
)
from consumers.kit.passwords import CREDENTIAL_NEEDED, SEAL_BROKEN, SEAL_BROKEN_TEXT
from pipeline.digest import digest_of
from pipeline.errors import TargetDown
from pipeline.target import Dead, Description, Done, HandlerOutcome, Preview, Retry, Task, Waiting
from pipeline.vault import SealBroken
from schemas.account import Account

GROUP_NOT_OURS = "group_not_ours"
"""Reason of waiting: a group of that name is somebody else's. An operator removes it or hands it over."""

OPERATOR_RECHECK_S = 3600.0
"""How often to look again at what waits for an operator."""


class Secrets(Protocol):
    """The vault, as far as this consumer needs it."""

    def open(self, ref: str) -> str | None:
        """The hash behind a reference; None when it was consumed. Raises SealBroken."""

    def consume(self, refs: Sequence[str]) -> None:
        """Erase these: the directory has them."""


Adopted = Callable[[Sequence[str]], Mapping[str, str]]
"""Says which entry (by DN) was adopted for each of these students, if one was."""


class DirectoryHandler:
    """Brings the directory to each account's state; see `pipeline.target.Handler`.

    Args:
        directory: the port; closed with the handler.
        secrets: where password hashes wait.
        profile: the establishment's own choices.
        system: technology and address, for operators.
        batch_size: students in one call.
        work_s_max: no operation is begun after this; no further student is begun after a part of it, so that
            what was written can be read back, and the rest is tried again.
        adopted: the entries that existed before, and whose they are.
        monotonic: seconds, for the limit above.
    """

    name = "directory"

    def __init__(
        self,
        directory: Directory,
        secrets: Secrets,
        profile: Profile,
        *,
        system: str,
        batch_size: int = 20,
        work_s_max: float = 15.0,
        adopted: Adopted = lambda _numbers: {},
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._secrets = secrets
        self._profile = profile
        self._system = system
        self.batch_size = batch_size
        self._work_s_max = work_s_max
        self.call_s_max = work_s_max + directory.operation_s_max
        self._adopted = adopted
        self._monotonic = monotonic

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """Close what must be closed, write what differs, read everything back."""
        accounts = {task.account.student_number: task.account for task in tasks}
        shut = [number for number, account in accounts.items() if not account.access_open]
        unreadable: set[str] = set()
        consumed: set[str] = set()
        adopted, renumbered = self._adopted(list(accounts)), _renumbered(accounts.values())
        desired = {
            n: self._desired(account, adopted, unreadable, consumed) for n, account in accounts.items()
        }
        closed: Mapping[str, ApplyResult] = {}
        results: dict[str, ApplyResult] = {}
        try:
            with self._directory.within(self._work_s_max):
                closed = self._directory.close(shut, renumbered) if shut else {}
                self._apply_in_time(list(desired.values()), results)
                applied = [n for n, result in results.items() if isinstance(result, Applied)]
                observed = self._directory.read(applied, None, renumbered)
        except TargetDown as down:
            down.unknown = down.unknown or _unanswered((*closed.values(), *results.values()))
            raise
        outcomes = {
            number: self._outcome(
                desired[number],
                _both(closed.get(number), result),
                observed.get(number, ()),
                consumed=number in consumed,
            )
            for number, result in results.items()
        }
        for number in unreadable:
            outcomes[number] = Dead(SEAL_BROKEN, SEAL_BROKEN_TEXT)
        self._secrets.consume(list(_references_shown(observed.values(), accounts.values())))
        return outcomes

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """What differs, by attribute; `entry`: there is none with this student number."""
        numbers = [account.student_number for account in accounts]
        unreadable: set[str] = set()
        adopted = self._adopted(numbers)
        desired = [self._desired(account, adopted, unreadable, set()) for account in accounts]
        observed = self._directory.read(numbers, adopted, _renumbered(accounts))
        foreseen = self._directory.foresee(desired, observed)
        previews = {}
        for one in desired:
            number = one.student_number
            found = _preview(one, observed.get(number, ()), foreseen.get(number, Applied(changed=False)))
            previews[number] = replace(found, obstacle=SEAL_BROKEN) if number in unreadable else found
        return previews

    def probe(self) -> None:
        """Write and read back the pipeline's own entry."""
        self._directory.probe()

    def describe(self) -> Description:
        """What the pipeline owns on an entry."""
        owns = (
            *OWNED,
            GROUPS,
            "userPassword",
            "sesameCredentialRef",
            "sesameVersion",
            "pwdAccountLockedTime",
        )
        return Description(name=self.name, system=self._system, owns=owns)

    def close(self) -> None:
        """Give the connections back."""
        self._directory.disconnect()

    def _desired(
        self, account: Account, adopted: Mapping[str, str], unreadable: set[str], consumed: set[str]
    ) -> DesiredEntry:
        """What the entry must show. Whose password cannot be had is added to one of the sets when it is asked
        for."""
        ref, mine = account.credential_ref, adopted.get(account.student_number)
        if ref is None:
            return desired_entry(account, self._profile, adopted=mine)

        def value() -> str | None:
            try:
                hashed = self._secrets.open(ref)
            except SealBroken:
                unreadable.add(account.student_number)
                return None
            if hashed is None:
                consumed.add(account.student_number)
                return None
            return user_password(hashed)

        return desired_entry(account, self._profile, Credential(ref, value), adopted=mine)

    def _apply_in_time(self, desired: Sequence[DesiredEntry], results: dict[str, ApplyResult]) -> None:
        """Apply slice by slice into `results`, and leave the rest when the time is used up."""
        deadline = self._monotonic() + self._work_s_max * _WRITING_SHARE
        for start in range(0, len(desired), _SLICE):
            part = desired[start : start + _SLICE]
            if self._monotonic() >= deadline:
                late = EntryUnsettled(
                    "directory_slow", "the call's time was used up before this student's turn"
                )
                results.update({d.student_number: late for d in part})
            else:
                results.update(self._directory.apply(part))

    def _outcome(
        self, desired: DesiredEntry, result: ApplyResult, shown: tuple[ObservedEntry, ...], *, consumed: bool
    ) -> HandlerOutcome:
        match result:
            case EntryRefused(cause, message):
                return Dead(cause, message)
            case EntryUnsettled(cause, message, unknown):
                return Retry(cause, message, unknown=unknown)
            case Applied():
                return self._read_back(desired, shown, result, consumed=consumed)

    def _read_back(
        self, desired: DesiredEntry, shown: tuple[ObservedEntry, ...], applied: Applied, *, consumed: bool
    ) -> HandlerOutcome:
        if len(shown) != 1:
            return Retry(
                "read_back_missing",
                f"{len(shown)} entries were found when the entry was read back",
                unknown=True,
            )
        different = differences(desired, shown[0])
        if different == ("sesameCredentialRef",) and consumed:
            return Waiting(CREDENTIAL_NEEDED)
        if applied.foreign and set(different) <= {GROUPS}:
            return Waiting(GROUP_NOT_OURS, pending=applied.foreign, recheck_after_s=OPERATOR_RECHECK_S)
        if different:
            return Retry("read_back_differs", f"read back otherwise than written: {', '.join(different)}")
        return Done(digest=digest_of(canonical(shown[0])), changed=applied.changed)


_WRITING_SHARE = 0.6
"""Of the time for a batch, how much is for writing; the rest is for the last slice and to read back."""

_SLICE = 10
"""Students between two looks at the clock; also one search's worth."""


def _preview(desired: DesiredEntry, shown: tuple[ObservedEntry, ...], foreseen: ApplyResult) -> Preview:
    if len(shown) > 1:
        return Preview(obstacle="student_number_ambiguous")
    found = shown[0] if shown else None
    match (None if found is None else forbidden(desired, found)) or foreseen:
        case EntryRefused(cause) | EntryUnsettled(cause):
            return Preview(obstacle=cause)
        case Applied(foreign=foreign):
            differs = ("entry",) if found is None else differences(desired, found)
            return Preview(differs, _waits(desired, found) or (GROUP_NOT_OURS if foreign else ""))


def _waits(desired: DesiredEntry, found: ObservedEntry | None) -> str:
    """The reason for which the entry's password would not be there afterwards; empty: it would."""
    credential = desired.credential
    if credential is None or (found is not None and found.credential_ref == credential.ref):
        return ""
    return CREDENTIAL_NEEDED if credential.user_password() is None else ""


def _renumbered(accounts: Iterable[Account]) -> Mapping[str, str]:
    """The logins of those whose entries show another student number than they are kept under."""
    return {each.student_number: each.login for each in accounts if each.shown_number is not None}


def _unanswered(results: Iterable[ApplyResult]) -> bool:
    """Whether a write of an earlier verb may still land."""
    return any(isinstance(result, EntryUnsettled) and result.unknown for result in results)


def _both(closing: ApplyResult | None, applying: ApplyResult) -> ApplyResult:
    """The outcome of both writes: the second repeats the first, so only what changed is added up. A closing
    that nobody answered may still land, and shut what a newer version opens meanwhile: so it is not over."""
    if isinstance(closing, EntryUnsettled) and closing.unknown:
        return closing
    if isinstance(closing, Applied) and isinstance(applying, Applied):
        return Applied(closing.changed or applying.changed, applying.foreign)
    return applying


def _references_shown(
    observed: Iterable[tuple[ObservedEntry, ...]], accounts: Iterable[Account]
) -> Iterable[str]:
    """The references that the directory was seen to have."""
    wanted = {account.credential_ref for account in accounts if account.credential_ref}
    return sorted({e.credential_ref for several in observed for e in several if e.credential_ref} & wanted)
