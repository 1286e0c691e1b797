"""One student within a batch: what is wanted, what was seen, what is left to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from consumers.kit.connector import Held
from consumers.kit.deadline import OutOfTime
from consumers.moodle.bulk import Failure
from consumers.moodle.causes import Fault, MoodleCause, fault
from consumers.moodle.errors import Broken, CallFailed, MoodleRefused, OutcomeUnknown, WriteRefused
from consumers.moodle.functions import User
from consumers.moodle.intent import WantedUser

_WARNED: Final = {
    "useremailduplicate": MoodleCause.EMAIL_TAKEN,
    "useremailinvalid": MoodleCause.EMAIL_INVALID,
    "usernotupdatedadmin": MoodleCause.ADMIN_ACCOUNT,
    "usernotupdatedguest": MoodleCause.ADMIN_ACCOUNT,
    "cannotupdateuser": MoodleCause.REFUSED_VALUES,
    "usernotupdatedremote": MoodleCause.REFUSED_VALUES,
}
_GONE: Final = frozenset({"invaliduserid", "usernotupdateddeleted"})  # read again, then created again


@dataclass(eq=False)
class Work:
    """Mutable for the time of one batch, in one thread.

    Attributes:
        wanted: the desired state.
        users: every user with this idnumber, as last observed.
        cohorts: idnumber by id of the managed or wanted cohorts that the user is in, as last observed.
        user_fault: why the user's own fields cannot be as wanted; no further write of them is tried.
        cohort_faults: the same, by a cohort's idnumber.
        singled_out: the database refused this row alone, while it took others of the same batch.
        lately: what the last write met, in case the state is never reached.
        user_unknown, members_unknown: the outcome of such a write is not known: until it has been observed,
            nothing more may be written of this student.
        created: this batch created the user, who therefore has no memberships of the past.
        finished: all that was asked was carried out, or observed.
    """

    wanted: WantedUser
    users: tuple[User, ...] = ()
    cohorts: dict[int, str] = field(default_factory=dict)
    user_fault: Fault | None = None
    cohort_faults: dict[str, Fault] = field(default_factory=dict)
    singled_out: bool = False
    lately: Fault | None = None
    user_unknown: bool = False
    members_unknown: bool = False
    created: bool = False
    finished: bool = True

    @property
    def user(self) -> User | None:
        """The user, when there is exactly one."""
        return self.users[0] if len(self.users) == 1 else None

    @property
    def unknown(self) -> bool:
        """Whether PHP may still be writing this student."""
        return self.user_unknown or self.members_unknown

    def observed(self) -> None:
        """Settle a lost answer if what was just observed shows that the write succeeded."""
        if self.user is not None and not self.differing():
            self.user_unknown = False
        if self.user is not None and not self.to_join() and not self.to_leave():
            self.members_unknown = False

    @property
    def troubled(self) -> bool:
        """Whether something turned out otherwise than requested."""
        return self.lately is not None or self.unknown

    @property
    def to_create(self) -> bool:
        """Whether the user has to be created."""
        return not self.users and self.wanted.create and self.user_fault is None

    def differing(self) -> dict[str, str | int]:
        """The fields to write of the existing user, by Moodle's names."""
        if self.user is None or self.user_fault is not None:
            return {}
        differing: dict[str, str | int] = {
            name: value for name, value in self.wanted.fields.items() if getattr(self.user, name) != value
        }
        if self.user.idnumber != self.wanted.idnumber:  # the user is adopted
            differing["idnumber"] = self.wanted.idnumber
        if self.user.suspended != self.wanted.suspended:
            differing["suspended"] = int(self.wanted.suspended)
        return differing

    def to_join(self) -> list[str]:
        """Idnumbers of the cohorts that the existing user is not in yet."""
        if self.user is None:
            return []
        inside = set(self.cohorts.values())
        return [key for key in self.wanted.cohorts if key not in inside and key not in self.cohort_faults]

    def to_leave(self) -> list[int]:
        """Ids of the managed cohorts that the existing user should not be in."""
        if self.user is None:
            return []
        return [id_ for id_, key in self.cohorts.items() if key not in self.wanted.cohorts]

    def open(self) -> bool:
        """Whether anything is left to write."""
        return bool(self.to_create or self.differing() or self.to_join() or self.to_leave())

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Why the student is not as wanted, the gravest first."""
        found = [*self.cohort_faults.values()]
        if self.user_fault is not None:
            found.append(self.user_fault)
        if not self.finished:
            unknown = fault(MoodleCause.OUTCOME_UNKNOWN) if self.unknown else None
            found.append(unknown or self.lately or fault(MoodleCause.NOT_APPLIED))
        return tuple(
            sorted(found, key=lambda each: (isinstance(each, Held), not getattr(each, "lasting", 0)))
        )


def note_warning(work: Work, code: str, *, others_pass: bool) -> None:
    """A warning about one user, whom Moodle then left as it was."""
    if code in _GONE:
        work.lately = fault(MoodleCause.NOT_APPLIED)
    elif code == "dmlwriteexception":
        _refused_by_database(work, others_pass=others_pass)
    else:
        work.user_fault = fault(_WARNED.get(code, MoodleCause.REFUSED_VALUES))


def cause_of_warning(code: str) -> MoodleCause:
    """Why Moodle left a user as it was, by its warning code; see `note_warning`."""
    if code == "dmlwriteexception":
        return MoodleCause.BUSY
    return MoodleCause.NOT_APPLIED if code in _GONE else _WARNED.get(code, MoodleCause.REFUSED_VALUES)


def _refused_by_database(work: Work, *, others_pass: bool) -> None:
    """Judge a write that the database refused, by repetition and by the neighbours.

    A deadlock and a value that is too long look the same. Refused alone, retried and refused again, while
    others were taken: it is this row. Refused with all others: it is the database, and dead letters by the
    hundred would only hide that.
    """
    if work.singled_out:
        work.user_fault = fault(MoodleCause.WRITE_REFUSED)
    work.singled_out = others_pass
    work.lately = fault(MoodleCause.BUSY)


def note_failure(failure: Failure[Work], *, others_pass: bool) -> None:
    """Leave in the work the failure of its last write."""
    work, error = failure.row, failure.error
    if isinstance(error, WriteRefused):
        if failure.alone:
            _refused_by_database(work, others_pass=others_pass)
        else:
            work.lately = fault(MoodleCause.BUSY)
    elif isinstance(error, MoodleRefused):
        work.user_fault = fault(MoodleCause.REFUSED_VALUES)
    else:
        work.user_unknown = work.user_unknown or isinstance(error, OutcomeUnknown)
        note_lost(work, error)


def note_lost(work: Work, error: CallFailed | OutOfTime) -> None:
    """Leave in the work that its last write failed or has an unknown outcome."""
    work.lately = fault(cause_of(error))


def cause_of(error: CallFailed | OutOfTime) -> MoodleCause:
    """Why a write was not carried out, or has an unknown outcome, for any student."""
    if isinstance(error, OutcomeUnknown):
        return MoodleCause.OUTCOME_UNKNOWN
    if isinstance(error, OutOfTime):
        return MoodleCause.OUT_OF_TIME
    return MoodleCause.BROKEN if isinstance(error, Broken) else MoodleCause.BUSY
