"""Drive a connector's verbs: shut, read, compare, apply, read back, report.

It reports what was read last of a student, never what a write answered. Students are judged separately: a
refusal concerns one student, and a batch that a target refuses as a whole is halved until it is known which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from consumers.kit.connector import (
    SLOW,
    TOO_SLOW,
    Anything,
    BatchRefused,
    Change,
    Fields,
    Held,
    Refused,
    Seen,
    TargetObject,
    Wanted,
    differing,
    find_own,
)
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.kit.passwords import (
    CLOCKS_S,
    CREDENTIAL_NEEDED,
    NO_PASSWORD,
    PASSWORD_REPLACED,
    SEAL_BROKEN,
    SEAL_BROKEN_TEXT,
    Passwords,
)
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.target import (
    NOTHING,
    Closed,
    Dead,
    Description,
    Done,
    HandlerOutcome,
    Preview,
    Retry,
    Task,
    Waiting,
    digest_of,
)
from schemas.account import Account, Hold, Stage

COLLISION: Final = "identity_collision"
AMBIGUOUS: Final = "student_number_ambiguous"
DIFFERS: Final = "read_back_differs"
NOT_ERASABLE: Final = "not_erasable"
MISSING: Final = "read_back_missing"
OUT_OF_REACH: Final = "out_of_reach"
OUT_OF_PLACE: Final = "out_of_place"
SHARED: Final = "shared_with_others"

OBJECT, ACCESS, ERASURE = "object", "access", "erasure"
"""Tokens of a preview, next to names of fields: make an object, change access, erase an object."""


@dataclass(frozen=True, slots=True)
class _Blocked:
    """The student's own objects, on which every write but a shut is blocked."""

    found: Sequence[TargetObject]
    outcome: Dead


_Found = TargetObject | None | HandlerOutcome | _Blocked
_Open = Callable[..., str | None]
_Read = Callable[[Sequence[Account], Deadline], Mapping[str, Seen]]
_Verb = Callable[[Sequence[Change], Deadline], Mapping[str, Held | Refused]]
_Outcomes = dict[str, HandlerOutcome]


class ConnectorHandler:
    """`pipeline.target.Handler` for any connector."""

    def __init__(self, connector: Anything) -> None:
        settings = connector.settings
        self._connector = connector
        self._work_s_max = settings.call_s_max
        self._last_s_max = settings.verb_s_max
        self._monotonic = connector.context.monotonic
        self.name = connector.name
        self.batch_size = settings.batch_size
        self.call_s_max = settings.call_s_max + 2 * settings.verb_s_max  # the last call began in time

    def handle(self, tasks: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        """See `Handler.handle`."""
        if any(task.compare for task in tasks):
            self._connector.forget()
        deadline = Deadline.after(self._work_s_max, self._monotonic)
        return _BatchCall(self._connector, deadline, self._last_s_max).run(tasks)

    def preview(self, accounts: Sequence[Account]) -> Mapping[str, Preview]:
        """See `Handler.preview`."""
        self._connector.forget()
        deadline = Deadline.after(self._work_s_max, self._monotonic)
        try:
            with self._connector.adopted_refs.once(
                [account.student_number for account in accounts]
            ) as adopted:
                found = _found(self._connector, self._connector.read, accounts, adopted, deadline)
            private = privately(self._connector, found)
            planned = {
                (number := account.student_number): _planned(
                    self._connector, account, found[number], private.get(number)
                )
                for account in accounts
            }
            changes = [change for _, change in planned.values() if change is not None]
            foreseen = self._connector.foresee(changes, deadline) if changes else {}
        except OutOfTime:
            return {account.student_number: Preview(obstacle=SLOW) for account in accounts}
        return {
            number: replace(preview, obstacle=_token(foreseen[number])) if number in foreseen else preview
            for number, (preview, _) in planned.items()
        }

    def probe(self) -> None:
        """See `Handler.probe`."""
        self._connector.probe()

    def describe(self) -> Description:
        """See `Handler.describe`."""
        return self._connector.describe()

    def close(self) -> None:
        """See `Handler.close`."""
        self._connector.disconnect()


class _BatchCall:
    """One call of `handle`: its time, and whether it probed the target after a doubt."""

    def __init__(self, connector: Anything, deadline: Deadline, last_s_max: float) -> None:
        self._connector = connector
        self._deadline = deadline
        self._last = replace(deadline, at=deadline.at + last_s_max)
        self._trusted = False
        self._adopted: Mapping[str, str] = {}
        self._outcomes: _Outcomes = {}
        self._blocked: dict[str, _Blocked] = {}
        self._passwords: dict[str, str] = {}
        self._private: Mapping[str, Fields] = {}
        self._were_there: Collection[str] = ()

    def run(self, batch: Sequence[Task]) -> Mapping[str, HandlerOutcome]:
        tasks: Mapping[str, Task] = {task.account.student_number: task for task in batch}
        numbers = list(tasks)
        self._were_there = {number for number, task in tasks.items() if task.was_there}
        try:
            with self._connector.adopted_refs.once(numbers) as self._adopted, suppress(OutOfTime):
                if self._connector.sessions:
                    tasks = self._end_sessions(tasks)
                accounts = [task.account for task in tasks.values()]
                found = self._read(self._connector.read_before, accounts, self._deadline)
                shut = self._shut(tasks, found)
                for number, task in tasks.items():
                    said = self._outcomes.get(number)
                    if task.close_only and (said is None or isinstance(said, Waiting)):
                        self._outcomes[number] = Closed()  # nothing to shut, or it is shut
                self._erase(tasks, found)
                self._block()
                left = {n: t.account for n, t in tasks.items() if n in found and n not in self._outcomes}
                self._bring(left, found, shut)
        except (TargetDown, Throttled, Misconfigured) as error:  # an earlier call may still have an effect
            error.unknown = error.unknown or self._unanswered()
            raise
        return {number: self._outcomes.get(number, _slow()) for number in numbers}

    def _end_sessions(self, tasks: Mapping[str, Task]) -> Mapping[str, Task]:
        """End the sessions of those to be shut. Return the tasks left, without those that only close."""
        shutting = [Change(task.account, None, {}, open=False) for task in tasks.values() if _shuts(task)]
        if shutting:
            self._write(self._connector.close, shutting)
        for number, task in tasks.items():
            if task.close_only:
                self._outcomes.setdefault(number, Closed())
        return {number: task for number, task in tasks.items() if number not in self._outcomes}

    def _shut(self, tasks: Mapping[str, Task], found: dict[str, TargetObject | None]) -> Container[str]:
        """Shut the open objects of those to be shut, and read again; return who was shut."""
        shutting = [
            Change(task.account, each, {}, open=False)
            for number, task in tasks.items()
            if _shuts(task)
            for each in self._objects(number, found)
            if each.open
        ]
        if not shutting:
            return ()
        self._write(self._connector.close, shutting)
        accounts = {
            each.account.student_number: each.account
            for each in shutting
            if each.account.student_number not in self._outcomes
        }
        found |= self._read_back(list(accounts.values()))
        for number in accounts:
            if any(each.open for each in self._objects(number, found)):
                self._outcomes[number] = Retry(DIFFERS, "access is still open after it was shut")
        return accounts.keys()

    def _erase(self, tasks: Mapping[str, Task], found: Mapping[str, TargetObject | None]) -> None:
        """Erase the objects of erased accounts, and check. Several of one number are left to an operator."""
        doomed: dict[str, TargetObject] = {}
        accounts = {
            number: task.account
            for number, task in tasks.items()
            if task.account.stage is Stage.ERASED and number not in self._outcomes
        }
        for number in accounts:
            objects = self._objects(number, found)
            if not objects or "apply" not in self._connector.verbs():  # nothing there was ever ours
                self._outcomes[number] = Done(NOTHING, changed=False)
            elif len(objects) == 1 and "erase" in self._connector.verbs():
                doomed[number] = objects[0]
            else:
                several = self._blocked[number].outcome if len(objects) > 1 else None
                self._outcomes[number] = several or Dead(NOT_ERASABLE, _BY_HAND)
        if not doomed:
            return
        self._deadline.left_s()
        self._were_there = ()  # from now on, what holds a name is another's
        refused = self._connector.erase(list(doomed.values()), self._deadline)
        self._refuse({number: refused.get(one.ref) for number, one in doomed.items()})
        erased = [accounts[number] for number in doomed if number not in self._outcomes]
        for number, one in self._read_back(erased).items():
            left = Retry(DIFFERS, "something is left of what was erased")
            self._outcomes[number] = Done(NOTHING, changed=True) if one is None else left

    def _objects(self, number: str, found: Mapping[str, TargetObject | None]) -> Sequence[TargetObject]:
        """All objects of a student: several, if more than one carries the number."""
        if number in self._blocked:
            return self._blocked[number].found
        one = found.get(number)
        return () if one is None else (one,)

    def _block(self) -> None:
        """Report the obstacle of each blocked student who has no other outcome."""
        blocked = {number: one.outcome for number, one in self._blocked.items()}
        self._outcomes = {**blocked, **self._outcomes}

    def _bring(
        self, accounts: Mapping[str, Account], found: Mapping[str, TargetObject | None], shut: Container[str]
    ) -> None:
        """Write differences, and report what is then read. Access that was just shut counts as a change."""
        self._private = privately(self._connector, accounts)
        wanted = {number: self._wanted(account, found[number]) for number, account in accounts.items()}
        shown = {**found}
        changes = []
        for number, account in accounts.items():
            change = _change(account, wanted[number], found[number], self._passwords.get(number))
            if change is None:
                self._outcomes[number] = _reached(wanted[number], found[number], changed=number in shut)
            else:
                changes.append(change)
        if changes:
            self._write(self._connector.apply, changes)
            written = [each.account for each in changes if each.account.student_number not in self._outcomes]
            shown |= self._read_back(written)
            self._block()
            for account in written:
                number = account.student_number
                if number not in self._outcomes:
                    self._outcomes[number] = _after(account, wanted[number], shown[number])
        self._consume(accounts.values(), shown)

    def _wanted(self, account: Account, found: TargetObject | None) -> Wanted:
        private = self._private.get(account.student_number)
        wanted, password = _with_password(self._connector, account, found, private, opened=self._open)
        if password is not None:
            self._passwords[account.student_number] = password
        return wanted

    def _open(self, ref: str, *, gone: bool) -> str | None:
        """The waiting password; for an object that is gone, the last one, if kept."""
        passwords = self._connector.context.passwords
        waiting: str | None = passwords.open(ref)
        return passwords.open_kept(ref) if waiting is None and gone else waiting

    def _consume(self, accounts: Iterable[Account], shown: Mapping[str, TargetObject | None]) -> None:
        """Erase passwords from the vault that the target was seen to have."""
        field = self._connector.credential
        if field is not None:
            having = {
                each.credential_ref or "": found.password_at or None
                for each in accounts
                if (found := shown.get(each.student_number)) is not None and _has_password(each, found, field)
            }
            self._connector.context.passwords.consume(having)

    def _write(self, verb: _Verb, changes: Sequence[Change]) -> None:
        """Carry out these changes; a refusal is the student's outcome."""
        self._deadline.left_s()
        try:
            refused = verb(changes, self._deadline)
        except BatchRefused as error:
            if len(changes) == 1:
                refused = {changes[0].account.student_number: error.refused}
            else:
                half = len(changes) // 2
                self._write(verb, changes[:half])
                self._write(verb, changes[half:])
                return
        self._refuse(
            {each.account.student_number: refused.get(each.account.student_number) for each in changes}
        )

    def _refuse(self, refusals: Mapping[str, Held | Refused | None]) -> None:
        said = {number: each for number, each in refusals.items() if each is not None}
        self._outcomes |= {number: _outcome(each) for number, each in said.items()}
        if any(isinstance(each, Refused) and each.cause != SLOW for each in said.values()):
            try:
                self._doubt()
            except OutOfTime:
                self._outcomes |= {number: _slow(self._outcomes[number]) for number in said}
                raise

    def _unanswered(self) -> bool:
        return self._deadline.unanswered or any(
            isinstance(each, Retry) and each.unknown for each in self._outcomes.values()
        )

    def _doubt(self) -> None:
        """Probe the target before charging a student. Raises if it fails for all, or no time is left."""
        if not self._trusted:
            self._last.left_s()
            self._connector.probe()
            self._trusted = True

    def _read(
        self, read: _Read, accounts: Sequence[Account], deadline: Deadline
    ) -> dict[str, TargetObject | None]:
        """Read each student's object; a failure is the student's outcome."""
        result: dict[str, TargetObject | None] = {}
        if not accounts:
            return result
        found = _found(self._connector, read, accounts, self._adopted, deadline, self._were_there)
        self._forget_kept(accounts, found)
        for number, one in found.items():
            if isinstance(one, _Blocked):
                self._blocked[number] = one
                result[number] = one.found[0]
            elif one is None or isinstance(one, TargetObject):
                result[number] = one
            else:
                if isinstance(one, Retry | Dead) and one.cause not in (COLLISION, SLOW):
                    self._doubt()
                self._outcomes[number] = one
        return result

    def _forget_kept(self, accounts: Sequence[Account], found: Mapping[str, _Found]) -> None:
        """Drop the kept hash of a password that others know or have replaced."""
        field = self._connector.credential
        refs = [
            account.credential_ref
            for account in accounts
            if field is not None
            and account.credential_ref is not None
            and (
                Hold.STOLEN_PASSWORDS in account.holds
                or _shown_of(found[account.student_number], field) == (PASSWORD_REPLACED,)
            )
        ]
        if refs:
            self._connector.context.passwords.forget_kept(refs)

    def _read_back(self, accounts: Sequence[Account]) -> dict[str, TargetObject | None]:
        """Read with a separate deadline: a slow write must not leave its result unknown."""
        return self._read(self._connector.read, accounts, self._last)


def _found(
    connector: Anything,
    read: _Read,
    accounts: Sequence[Account],
    adopted: Mapping[str, str],
    deadline: Deadline,
    were_there: Collection[str] = (),
) -> dict[str, _Found]:
    """Each student's one object, None, or why neither can be known; by student number.

    `were_there`: students whose object was seen there before.
    """
    deadline.left_s()
    seen = read(accounts, deadline)
    found = {
        account.student_number: _theirs(
            account,
            seen.get(account.student_number, _UNANSWERED),
            adopted.get(account.student_number),
            was_there=account.student_number in were_there,
        )
        for account in accounts
    }
    single = {number: one for number, one in found.items() if isinstance(one, TargetObject)}
    return {**found, **with_passwords_judged(connector, accounts, single)}


_BY_HAND: Final = "the connector cannot erase: remove what the target has of this student there, then replay"


_UNANSWERED: Final = Refused("internal_error", "the connector said nothing of this student")


def _theirs(account: Account, seen: Seen, adopted: str | None, *, was_there: bool) -> _Found:
    if isinstance(seen, Held):
        return _outcome(seen) if account.access_open or account.stage is Stage.ERASED else None
    if isinstance(seen, Refused):
        return _outcome(seen)
    own = find_own(account, seen, adopted)
    if len(own) > 1:
        many = f"{len(own)} objects carry this student number: take it away from all but one"
        return _Blocked(own, Dead(AMBIGUOUS, many))
    if len(seen) == len(own):
        return own[0] if own else None
    if not own and account.stage is Stage.ERASED and not was_there:
        return None  # objects of others block no erasure; what has lost its mark may be the student's
    taken = Dead(
        COLLISION, "an object that does not carry this student number holds the login or the address"
    )
    return _Blocked(own, taken) if own else taken


def with_passwords_judged(
    connector: Anything, accounts: Iterable[Account], found: Mapping[str, TargetObject]
) -> dict[str, TargetObject]:
    """Mark objects whose password others have set or deleted since our write.

    Such an object shows `PASSWORD_REPLACED` for its credential. A password cannot be read back: compare the
    time when it was set with its time after our own write.
    """
    field = connector.credential
    if field is None:
        return dict(found)
    told = {
        account.student_number: account.credential_ref or ""
        for account in accounts
        if (one := found.get(account.student_number)) is not None
        and one.password_at is not None
        and _has_password(account, one, field)
    }
    given = connector.context.passwords.handed_over(sorted(told.values())) if told else {}
    judged = dict(found)
    for number, ref in told.items():
        one, ours = found[number], given.get(ref)
        if ours is None or one.password_at is None:
            continue
        if one.password_at == NO_PASSWORD or ours.shown_at is not None:
            replaced = one.password_at != ours.shown_at
        else:
            replaced = one.password_at > ours.seen_at + CLOCKS_S
        if replaced:
            judged[number] = replace(one, fields={**one.fields, field: (PASSWORD_REPLACED,)})
    return judged


def _with_password(
    connector: Anything,
    account: Account,
    found: TargetObject | None,
    private: Fields | None = None,
    *,
    opened: _Open | None = None,
) -> tuple[Wanted, str | None]:
    """The meaning of an account here, and the password still to be written.

    No password: there is none, or the object shows it already. If it no longer exists, the rest is wanted and
    the student waits. A closed account needs none.

    Args:
        private: the student's values from `Connector.privately`.
        opened: opens the password; for an object that is `gone`, its last one. None: only look.
    """
    wanted, field, ref = connector.wanted(account), connector.credential, account.credential_ref
    if private:
        fields, undigested = {**wanted.fields, **private}, (*wanted.undigested, *private)
        wanted = replace(wanted, fields=fields, undigested=undigested)
    if field is None or ref is None or _has_password(account, found, field):
        return wanted, None
    fields = {name: values for name, values in wanted.fields.items() if name != field}
    without = replace(wanted, fields=fields)
    if not account.access_open:
        return without, None
    if found is not None and found.fields.get(field) == (PASSWORD_REPLACED,):
        return replace(without, held=Held(PASSWORD_REPLACED)), None
    from pipeline.vault import SealBroken  # with cryptography, which diagnosis does not need

    try:
        password = (opened or partial(_looked_at, connector.context.passwords))(ref, gone=found is None)
    except SealBroken:
        return replace(without, held=Refused(SEAL_BROKEN, SEAL_BROKEN_TEXT, lasting=True)), None
    return (
        (wanted, password) if password is not None else (replace(without, held=Held(CREDENTIAL_NEEDED)), None)
    )


def _shown_of(found: _Found, field: str) -> tuple[str, ...]:
    return found.fields.get(field, ()) if isinstance(found, TargetObject) else ()


def _looked_at(passwords: Passwords, ref: str, *, gone: bool) -> str | None:
    """The waiting password. Empty if only the last hash of a gone object is kept, which stays sealed."""
    password = passwords.open(ref)
    if password is None and gone and any(one.kept for one in passwords.handed_over([ref]).values()):
        return ""
    return password


def _has_password(account: Account, found: TargetObject | None, field: str) -> bool:
    shown = () if found is None else found.fields.get(field, ())
    return account.credential_ref is not None and shown == (account.credential_ref,)


def _change(
    account: Account, wanted: Wanted, found: TargetObject | None, password: str | None = None
) -> Change | None:
    """What has to be written; None: nothing. A closed account gets no new object."""
    if found is None and not account.access_open:
        return None
    withheld = () if found is None or found.held is None else found.held.fields
    fields = {name: values for name, values in differing(wanted, found).items() if name not in withheld}
    opens = account.access_open if found is None or found.open is not None else None
    changes_access = found is None or (opens is not None and found.open != opens)
    if found is not None and not fields and not changes_access:
        return None
    return Change(account, found, fields, opens if changes_access else None, password)


def _after(account: Account, wanted: Wanted, found: TargetObject | None) -> HandlerOutcome:
    """The outcome of a write, judged only by what was read back."""
    if found is None:
        return Retry(MISSING, "what was written was not found when it was read back")
    left = _change(account, wanted, found)
    if left is not None:
        names = ", ".join(_names(left))
        return Retry(DIFFERS, f"read back otherwise than written: {names}")
    return _reached(wanted, found, changed=True)


def _reached(wanted: Wanted, found: TargetObject | None, *, changed: bool) -> HandlerOutcome:
    held = _held(wanted, found)
    if held is not None:
        return _outcome(held)
    stated = wanted.fields.keys() - set(wanted.undigested)
    return Done(digest_of(_shown(stated, found)), changed, "" if found is None else found.note)


def _held(wanted: Wanted, found: TargetObject | None) -> Held | Refused | None:
    """What the object still lacks. None: nothing, or it does not exist (then access is shut)."""
    return None if found is None else wanted.held or found.held


def _shown(owned: Iterable[str], found: TargetObject | None) -> dict[str, object] | None:
    if found is None:
        return None
    fields: Fields = found.fields
    return {"fields": {name: list(fields.get(name, ())) for name in owned}, "open": found.open}


def _planned(
    connector: Anything, account: Account, found: _Found, private: Fields | None
) -> tuple[Preview, Change | None]:
    """Predict a turn, as far as possible without another call to the target."""
    match found:
        case Waiting(reason):
            return Preview(obstacle=reason), None
        case Retry(cause) | Dead(cause) | _Blocked(outcome=Dead(cause)):
            return Preview(obstacle=cause), None
        case TargetObject() | None if account.stage is Stage.ERASED:
            return Preview((ERASURE,) if found is not None else ()), None
        case TargetObject() | None:
            wanted, _ = _with_password(connector, account, found, private)
            change = _change(account, wanted, found)
            differs = () if change is None else _names(change)
            to_be_made = found is None and account.access_open
            held = wanted.held if to_be_made else _held(wanted, found)
            obstacle = "" if held is None else _token(held)
            if found is not None and found.out_of_reach:
                obstacle = OUT_OF_REACH
            elif found is not None and found.out_of_place and not differs:
                obstacle = obstacle or OUT_OF_PLACE
            lockout = None if found is None else found.lockout
            return Preview(differs, obstacle, None if lockout is None else lockout.since), change
    return Preview(), None


def privately(connector: Anything, students: Collection[str]) -> Mapping[str, Fields]:
    """The wanted values of these students' private fields. Most connectors have none, and are not asked."""
    return connector.privately(list(students)) if connector.private and students else {}


def differences(
    connector: Anything, account: Account, listed: TargetObject | None, private: Fields | None = None
) -> tuple[str, ...]:
    """Names of the fields that a write would change, as far as `objects` shows them.

    `private`: the student's values from `privately`.
    """
    lists = connector.lists
    if account.stage is Stage.ERASED:
        return (ERASURE,) if listed is not None and lists != () else ()
    wanted, _ = _with_password(connector, account, listed, private)
    change = _change(account, wanted, listed)
    names = () if change is None else _names(change)
    if listed is not None and lists is not None:
        names = tuple(name for name in names if name in lists or name == ACCESS)
    replaced = isinstance(wanted.held, Held) and wanted.held.reason == PASSWORD_REPLACED
    return (*names, PASSWORD_REPLACED) if replaced else names


def _names(change: Change) -> tuple[str, ...]:
    if change.found is None:
        return (OBJECT, *change.fields)
    return (*change.fields, *((ACCESS,) if change.open is not None else ()))


def _shuts(task: Task) -> bool:
    return task.close_only or not task.account.access_open


def _outcome(said: Held | Refused) -> HandlerOutcome:
    if isinstance(said, Held):
        return Waiting(said.reason, said.pending, said.recheck_after_s)
    if said.lasting:
        return Dead(said.cause, said.message)
    return Retry(said.cause, said.message, said.after_s, said.unknown)


def _slow(said: HandlerOutcome | None = None) -> Retry:
    """Retry because the time was used up. An earlier call's unknown outcome stays unknown."""
    return Retry(SLOW, TOO_SLOW, unknown=isinstance(said, Retry) and said.unknown)


def _token(said: Held | Refused) -> str:
    return said.reason if isinstance(said, Held) else said.cause
