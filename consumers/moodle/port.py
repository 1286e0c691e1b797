"""The Moodle port: what the pipeline wants of a Moodle site, in Moodle's words.

A student is the user whose `idnumber` *is* the student number, exactly: the database compares without case
and trailing blanks, this port does not. A cohort is known by its idnumber. Cohorts whose idnumber the
settings' templates can produce are *managed*: the port alone decides who is a member of them. No member is
removed from other cohorts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from consumers.kit.deadline import Deadline
from consumers.moodle.causes import MoodleFault


@dataclass(frozen=True, slots=True)
class User:
    """A Moodle user as observed; fields that Moodle leaves out are empty here."""

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
            another idnumber than it had then, it belongs to another person. None: there is none.
        pseudonym: another idnumber of the user, which an erasure that was cut off has left; empty: none.
    """

    idnumber: str
    fields: Mapping[str, str]
    suspended: bool
    cohorts: Mapping[str, str]
    create: bool = True
    adopted: AdoptedUser | None = None
    pseudonym: str = ""


@dataclass(frozen=True)
class Seen:
    """One student as observed on the site.

    Attributes:
        idnumber: the student number.
        users: every user with this idnumber; more than one is a fault of the site's.
        cohorts: idnumbers of the managed or wanted cohorts that the user belongs to, sorted.
        login_taken: there is no such user, and another one has the username that it is to get.
    """

    idnumber: str
    users: tuple[User, ...] = ()
    cohorts: tuple[str, ...] = ()
    login_taken: bool = False


class SiteLock(Protocol):
    """Serialises an act for a whole Moodle site, over every process that works on it."""

    def hold(self, name: str, *, ttl_s: float, wait_s: float) -> AbstractContextManager[None]:
        """Wait for the lock of that name, hold it within the `with`, then release it.

        Args:
            ttl_s: after so many seconds it is free again, should this process die.
            wait_s: how long to wait for it.

        Raises:
            LockHeld: another holder keeps it longer.
        """


class MoodlePort(Protocol):
    """The verbs. Safe to call from several threads, never for one student at once.

    All raise `TargetDown`, `Throttled` or `Misconfigured` for the site as a whole; `read`, `close`, `foresee`
    and `erase` raise `OutOfTime` where the time of the batch does not reach. An empty answer of `read` is
    only given once the service user's right to see others has been verified.
    """

    def read(self, batch: Sequence[WantedUser], deadline: Deadline) -> Mapping[str, Seen]:
        """Observe these students, absent ones included, by student number.

        An adopted user counts where no user has the idnumber.
        """

    def apply(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, MoodleFault]:
        """Write what differs from what was seen, and nothing else. May be repeated.

        What turns out otherwise than requested is read, and tried once more; returns, by student number, why
        it is still not as wanted then. The others were not read back.
        """

    def close(self, users: Sequence[User], deadline: Deadline) -> Mapping[int, MoodleFault]:
        """Suspend these users and do nothing else; obstacles by id."""

    def foresee(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, MoodleFault]:
        """What would hinder `apply`, by student number, as far as reading shows it."""

    def forget(self) -> None:
        """Drop what is remembered of memberships."""

    def dump(self) -> Iterator[Seen]:
        """Observe all users who are not deleted, with their managed cohorts.

        The answer is parsed while it arrives, so memory does not grow with the number of users. Users with
        one idnumber come one by one.
        """

    def renamed(
        self, cohorts: Mapping[str, Collection[str]], deadline: Deadline
    ) -> Mapping[str, tuple[str, ...]]:
        """The cohorts (names by idnumber) that were changed by hand.

        See `Connector.renamed`. A key was taken from the cohort of that name whose idnumber is none of these,
        with members in common where there is another cohort of the key by now.
        """

    def erase(
        self, users: Sequence[User], pseudonyms: Mapping[int, str], deadline: Deadline
    ) -> Mapping[int, MoodleFault]:
        """Delete these users unless they belong to others now; obstacles by id.

        Args:
            users: as they were seen.
            pseudonyms: the person's pseudonym, by id, written before; none: nothing is.
            deadline: of the batch.
        """

    def remove_cohorts(self, keys: Collection[str], deadline: Deadline) -> Collection[str]:
        """Remove the empty cohorts with these idnumbers; return those that are left.

        All are left if the service lacks the function.
        """

    def probe_erasing(self, deadline: Deadline) -> None:
        """Check the right to delete users, without deleting any; raise if it is missing."""

    def probe(self, deadline: Deadline) -> None:
        """Check the service user and its rights; raise unless all is well.

        The rights to write count unless the site is only observed. Nothing is written.
        """

    def lacking_packs(self, deadline: Deadline) -> Sequence[str]:
        """Which language packs of the settings the site lacks. Nothing is written."""

    def shut(self) -> None:
        """Close the connections."""
