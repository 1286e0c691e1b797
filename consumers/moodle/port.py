"""The Moodle port: what the pipeline wants of a Moodle site, in Moodle's own words.

A student is the user whose `idnumber` *is* the student number, exactly: the database compares without case
and trailing blanks, this port does not. A cohort is known by its idnumber. Cohorts whose idnumber the
settings' templates can produce are *managed*: the port alone decides who is a member of them. Other cohorts
are never emptied of anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from consumers.moodle.causes import MoodleFault
from consumers.moodle.errors import BatchDeadline
from pipeline.digest import digest_of


@dataclass(frozen=True, slots=True)
class User:
    """A Moodle user as observed; fields that Moodle leaves out because they are empty are empty here."""

    id: int
    username: str
    auth: str
    idnumber: str
    firstname: str
    lastname: str
    email: str
    suspended: bool
    lang: str = ""


@dataclass(frozen=True, slots=True)
class Cohort:
    """A Moodle cohort. `idnumber` is its key for the outside; Moodle alone knows `id`."""

    id: int
    idnumber: str
    name: str


@dataclass(frozen=True, slots=True)
class AdoptedUser:
    """A user that existed before: its id, and its idnumber when it was adopted."""

    id: int
    idnumber: str

    @classmethod
    def of(cls, text: str) -> AdoptedUser:
        """From the form in which it is kept: the id; then, if there was an idnumber, a blank and that."""
        id_, _, idnumber = text.partition(" ")
        return cls(int(id_), idnumber)


@dataclass(frozen=True)
class WantedUser:
    """The desired state of one student.

    Attributes:
        idnumber: the student number.
        fields: what the user's own fields must hold, by Moodle's names (`username`, `auth`, `firstname`,
            `lastname`, `email`, `lang` where it is owned). Fields that are not named are left alone.
        suspended: access is shut.
        cohorts: idnumber to name of the cohorts to belong to; out of every other managed one.
        create: create the user when absent. A student without access who is unknown to Moodle stays unknown.
        adopted: the user that was adopted for this student although it does not carry the number; with
            another idnumber than it had then, it is somebody else's meanwhile. None: there is none.
        compare: an earlier outcome is unknown, or another process may have written: use nothing remembered.
    """

    idnumber: str
    fields: Mapping[str, str]
    suspended: bool
    cohorts: Mapping[str, str]
    create: bool = True
    compare: bool = False
    adopted: AdoptedUser | None = None


@dataclass(frozen=True)
class Seen:
    """One student as observed on the site.

    Attributes:
        idnumber: the student number.
        users: every user with this idnumber; more than one is a fault of the site's.
        cohorts: idnumbers of the managed or wanted cohorts that the user belongs to, sorted.
    """

    idnumber: str
    users: tuple[User, ...] = ()
    cohorts: tuple[str, ...] = ()

    def digest(self, owned: Sequence[str]) -> str:
        """A digest of what the pipeline owns of this student; equal states give equal digests on any site.

        Args:
            owned: the owned fields of a user, by Moodle's names. The site's internal ids are no part of it.
        """
        users: list[dict[str, Any]] = [
            {
                **{name: getattr(user, name) for name in owned},
                "idnumber": user.idnumber,
                "suspended": user.suspended,
            }
            for user in sorted(self.users, key=lambda user: user.id)
        ]
        return digest_of({"users": users, "cohorts": list(self.cohorts)})


@dataclass(frozen=True)
class Result:
    """What became of one student.

    Attributes:
        seen: what was read back last.
        changed: whether anything was written.
        faults: why the student is not as wanted; empty: observed as wanted.
    """

    seen: Seen
    changed: bool
    faults: tuple[MoodleFault, ...] = ()


class SiteLock(Protocol):
    """Serialises an act for a whole Moodle site, over every process that works on it."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Wait for the lock of that name, hold it within the `with`, and give it back whatever happens."""


class MoodlePort(Protocol):
    """The five verbs. Safe to call from several threads, never for one student at once.

    All raise `TargetDown`, `Throttled` or `Misconfigured` for the site as a whole. An empty answer of
    `read` is only given once the service user's right to see others has been verified.
    """

    def apply(self, batch: Sequence[WantedUser], deadline: BatchDeadline) -> Mapping[str, Result]:
        """Write what differs and nothing else, then read it back; by student number. May be repeated."""

    def close(self, idnumbers: Sequence[str], deadline: BatchDeadline) -> frozenset[str]:
        """Suspend the users of these students and do nothing else; returns those whose access was open."""

    def read(
        self,
        idnumbers: Sequence[str],
        deadline: BatchDeadline,
        adopted: Mapping[str, AdoptedUser] | None = None,
    ) -> Mapping[str, Seen]:
        """Observe these students, absent ones included; the user `adopted` where nobody has the idnumber."""

    def foresee(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: BatchDeadline
    ) -> Mapping[str, MoodleFault]:
        """What would stand in the way of `apply`, by student number, as far as reading shows it.

        Args:
            batch: the desired states.
            seen: what `read` has just shown of these students.
            deadline: of the batch.
        """

    def dump(self, *, strangers: bool = False) -> Iterator[Seen]:
        """Observe everybody whose users have the pipeline's authentication method and an idnumber.

        The answer is parsed while it arrives, so memory does not grow with the number of users.

        Args:
            strangers: everybody else too, whatever their authentication method and idnumber; without cohorts.
        """

    def probe(self, deadline: BatchDeadline) -> None:
        """Read the service user itself and check its rights, those to write too unless the site is only
        observed; return only if all is well. Nothing is written."""

    def shut(self) -> None:
        """Give the connections back."""
