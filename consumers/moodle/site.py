"""One Moodle site: its parts, and a batch's work on them.

What turns out otherwise than requested is observed and written once more, within the call; the kit reads all
the rest back. After a write whose outcome is unknown nothing more is written of that student: PHP may still
be at it, so the student is compared again on another turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from consumers.kit.connector import Change, ConnectorContext
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.moodle.bulk import carry
from consumers.moodle.causes import MoodleCause, fault
from consumers.moodle.cohorts import CohortCatalogue, SiteLock, shown_name
from consumers.moodle.deletions import Deletions
from consumers.moodle.errors import CallFailed, OutcomeUnknown
from consumers.moodle.functions import Cohort, MoodleFunctions, User
from consumers.moodle.intent import COHORTS, WantedUser, user_of
from consumers.moodle.members import Memberships
from consumers.moodle.rest import RestClient
from consumers.moodle.rights import Rights
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.users import Users
from consumers.moodle.work import Work, note_lost
from pipeline.errors import Misconfigured, TargetDown, Throttled
from pipeline.locks import SiteLocks

_WRITING_ROUNDS: Final = 2
_Cohort = TypeVar("_Cohort", str, int)  # its idnumber, or its id

MEMBER_BATCH: Final = 200
"""Cohort memberships in one call; 100 to 240 were the best measured."""


class MoodleSite:
    """What the connector works with. Safe to share between threads; calls nothing before it is used.

    Args:
        context: the connector's.
        functions: the site's; None: by the settings.
        lock: serialises the creation of cohorts, site-wide; None: the store's.

    Raises:
        Misconfigured: the file of certificate authorities cannot be read.
    """

    def __init__(
        self,
        context: ConnectorContext[MoodleSettings],
        functions: MoodleFunctions | None = None,
        lock: SiteLock | None = None,
    ) -> None:
        settings = context.settings
        self._settings = settings
        self._clock = context.monotonic
        self._is_managed = context.site.is_managed
        self.functions = functions or MoodleFunctions(RestClient(context), settings)
        self.rights = Rights(self.functions)
        self.users = Users(self.functions, settings)
        self.deletions = Deletions(self.functions, settings)
        if lock is None:
            assert context.site.database is not None, "Moodle needs the store"  # noqa: S101
            lock = SiteLocks(context.site.database)
        last_s = settings.verb_s_max + settings.execution_s_max
        self._catalogue = CohortCatalogue(self.functions, lock, last_s)
        self.members = Memberships(self.functions, self._catalogue, self._is_managed, clock=self._clock)

    @contextmanager
    def asked(self, deadline: Deadline, *, verified: bool = True) -> Iterator[None]:
        """Verify the service user's rights once, and again after the site refused it.

        On any failure of the call, record whether a write may still take effect. An empty answer is only
        believed once the right to see others has been verified.

        Args:
            deadline: of the batch.
            verified: whether the rights have to be.
        """
        try:
            if verified:
                self.rights.ensure(deadline)
            yield
        except (TargetDown, Throttled, Misconfigured) as error:
            error.unknown = deadline.unanswered
            self.members.doubt()  # what was written may not have been read
            if isinstance(error, Misconfigured):
                self.rights.forget()
            raise
        except CallFailed as error:
            # Writes leave their faults with the students: what arrives here is a read that cannot be had.
            self.members.doubt()
            raise TargetDown(f"Moodle cannot be read: {error}", unknown=deadline.unanswered) from error

    def work(self, wanted: WantedUser, change: Change) -> Work:
        """A student as seen before a change."""
        if change.found is None:
            return Work(wanted)
        keys = change.found.fields[COHORTS]
        inside = {each.id: key for key in keys for each in self._catalogue.with_idnumber(key)}
        return Work(wanted, (user_of(change),), inside)

    def observe(self, works: Sequence[Work], deadline: Deadline) -> None:
        """Observe these students; memberships as they are from now on."""
        since = self._clock()
        self.users.observe(works, deadline)
        present = [(work, work.user) for work in works if work.user is not None]
        if present:
            self.members.refresh([user.id for _, user in present], deadline, since=since)
            self._catalogue.ensure_loaded(deadline)
            self._observe_members(present, deadline, since=since)
        for work in works:
            work.observed()

    def _observe_members(
        self, present: Sequence[tuple[Work, User]], deadline: Deadline, *, since: float
    ) -> None:
        look_at = {
            user.id: self.members.remembered(user.id)
            | {cohort.id for key in work.wanted.cohorts for cohort in self._catalogue.with_idnumber(key)}
            | set(work.cohorts)
            for work, user in present
        }
        live = self.members.live(
            {cohort for cohorts in look_at.values() for cohort in cohorts}, deadline, since=since
        )
        for work, user in present:
            inside = {
                id_: self._catalogue.idnumber_of(id_) for id_, users in live.items() if user.id in users
            }
            work.cohorts = {
                id_: key for id_, key in inside.items() if key in work.wanted.cohorts or self._is_managed(key)
            }

    def bring(self, works: Sequence[Work], deadline: Deadline) -> None:
        """Write what differs from what was seen, and nothing else. May be repeated.

        What turns out otherwise than requested is read, and tried once more. Each work knows then why it is
        still not as wanted; the others were not read back.
        """
        left = works
        with self.asked(deadline, verified=False):
            try:
                self.rights.ensure(deadline)
                for _ in range(_WRITING_ROUNDS):
                    self._write([work for work in left if not work.unknown], deadline)
                    left = [work for work in left if work.troubled]
                    if not left:
                        break
                    self.observe(left, deadline)
                    left = [work for work in left if work.open() or work.unknown]
            except OutOfTime:
                for work in left:
                    work.lately = fault(MoodleCause.OUT_OF_TIME)
        for work in left:
            work.finished = False

    def foresee(
        self, works: Sequence[Work], inside: Mapping[str, Collection[str]], deadline: Deadline
    ) -> None:
        """Leave in the works what would hinder a write, as far as reading shows it.

        Args:
            works: the students.
            inside: idnumbers of the cohorts that they are in.
            deadline: of the batch.
        """
        joining = {
            work.wanted.idnumber: {
                key: name
                for key, name in work.wanted.cohorts.items()
                if (work.to_create or work.user) and key not in inside[work.wanted.idnumber]
            }
            for work in works
        }
        with self.asked(deadline):
            self.users.foresee(works, deadline)
            wanted = {key: name for each in joining.values() for key, name in each.items()}
            faults = self._catalogue.foresee(wanted, deadline)
        for work in works:
            work.cohort_faults = {key: faults[key] for key in joining[work.wanted.idnumber] if key in faults}

    def everybody(self, first: Deadline, then: Deadline) -> Iterator[tuple[User, tuple[str, ...]]]:
        """All users who are not deleted, with the idnumbers of their managed cohorts.

        The answer is parsed while it arrives, so memory does not grow with the number of users. Users with
        one idnumber come one by one.
        """
        with self.asked(first):
            self.members.doubt()
            self.members.refresh(None, first, since=self._clock())
            cohorts_of = self.members.everybody()
            for user in self.functions.everybody(then):
                keys = set(map(self._catalogue.idnumber_of, cohorts_of.get(user.id, ())))
                yield user, tuple(sorted(key for key in keys if self._is_managed(key)))

    def renamed(
        self, cohorts: Mapping[str, Collection[str]], deadline: Deadline
    ) -> Mapping[str, tuple[str, ...]]:
        """The cohorts (names by idnumber) that were changed by hand.

        See `Connector.renamed`. A key was taken from the cohort of that name whose idnumber is none of these,
        with members in common where there is another cohort of the key by now.
        """
        with self.asked(deadline):
            there = self._catalogue.load(deadline)
            by_key = {each.idnumber: each for each in there}
            strays: dict[str, list[Cohort]] = {}
            for each in there:
                if each.idnumber not in cohorts and not self._is_managed(each.idnumber):
                    strays.setdefault(shown_name(each.name), []).append(each)
            found: dict[str, tuple[str, ...]] = {}
            for key, several in cohorts.items():
                mine, names = by_key.get(key), set(map(shown_name, several))
                alike = [each for name in sorted(names) for each in strays.get(name, ())]
                former = self._former(mine, alike, deadline)
                if former:
                    found[key] = ("key", *(str(each.id) for each in former))
                elif mine is not None and shown_name(mine.name) not in names:
                    found[key] = ("name",)
            return found

    def _former(self, mine: Cohort | None, strays: Sequence[Cohort], deadline: Deadline) -> list[Cohort]:
        """Those of these cohorts that seem to have had the key.

        No cohort has it now, or the one that has it shares members with them.
        """
        if mine is None or not strays:
            return list(strays)
        members = self.members.live([mine.id, *(each.id for each in strays)], deadline, since=self._clock())
        ours = members.get(mine.id, frozenset())
        return [each for each in strays if members.get(each.id, frozenset()) & ours]

    def remove_cohorts(self, keys: Collection[str], deadline: Deadline) -> Collection[str]:
        """Remove the empty cohorts with these idnumbers; return those that are left.

        All are left if the service lacks the function.
        """
        with self.asked(deadline, verified=False):
            self._catalogue.load(deadline)
            found = {each.id: each.idnumber for key in keys for each in self._catalogue.with_idnumber(key)}
            members = self.functions.members_of(list(found), deadline)
            empty = [id_ for id_ in found if not members.get(id_)]
            if empty and self.functions.delete_cohorts(empty, deadline):
                self.members.doubt()
                return [key for id_, key in found.items() if id_ not in empty]
        return list(found.values())

    def _write(self, works: Sequence[Work], deadline: Deadline) -> None:
        self.users.write(works, deadline)
        self.members.created([work.users[0].id for work in works if work.created])
        wanted = {key: name for work in works for key, name in work.wanted.cohorts.items()}
        faults = self._catalogue.ensure(wanted, deadline)
        for work in works:
            work.cohort_faults = {key: faults[key] for key in work.wanted.cohorts if key in faults}
        self._join(works, deadline)
        self._leave(works, deadline)

    def _join(self, works: Sequence[Work], deadline: Deadline) -> None:
        rows = [(work, key) for work in works if not work.unknown for key in work.to_join()]
        joining: dict[int, list[int]] = {}
        for work, key in rows:
            for cohort in self._catalogue.with_idnumber(key):
                joining.setdefault(cohort.id, []).append(work.users[0].id)
        self.members.joining(joining)
        self._move(rows, 4, self.functions.add_members, deadline)

    def _leave(self, works: Sequence[Work], deadline: Deadline) -> None:
        rows = [(work, id_) for work in works if not work.unknown for id_ in work.to_leave()]
        self._move(rows, 2, self.functions.remove_members, deadline)

    def _move(
        self,
        rows: Sequence[tuple[Work, _Cohort]],
        fields: int,
        send: Callable[[Sequence[tuple[_Cohort, int]], Deadline], None],
        deadline: Deadline,
    ) -> None:
        """Change memberships, and note the refused ones.

        They are tried once more after the next observation: another writer may have been faster.
        """

        def call(some: Sequence[tuple[Work, _Cohort]]) -> list[None]:
            send([(cohort, work.users[0].id) for work, cohort in some], deadline)
            return [None] * len(some)

        for failure in carry(rows, self.functions.rows(fields, MEMBER_BATCH), call).failed:
            work, error = failure.row[0], failure.error
            work.members_unknown = work.members_unknown or isinstance(error, OutcomeUnknown)
            note_lost(work, error)
