"""The Moodle port over web services: observe, or write what differs.

What turns out otherwise than requested is observed and written once more, within the call; the caller reads
all the rest back. After a write whose outcome is unknown nothing more is written of that student: PHP may
still be at it, so the student is compared again on another turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from consumers.kit.deadline import Deadline, OutOfTime
from consumers.moodle.bulk import Failure, carry
from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.cohorts import CohortCatalogue, shown_name
from consumers.moodle.deletions import Deletions
from consumers.moodle.errors import CallFailed, OutcomeUnknown
from consumers.moodle.functions import MoodleFunctions
from consumers.moodle.members import Memberships
from consumers.moodle.port import Cohort, Seen, SiteLock, User, WantedUser
from consumers.moodle.rest import RestClient
from consumers.moodle.rights import Rights
from consumers.moodle.settings import MoodleSettings
from consumers.moodle.users import Users
from consumers.moodle.work import Work, note_lost
from pipeline.errors import Misconfigured, TargetDown, Throttled

_WRITING_ROUNDS: Final = 2

MEMBER_BATCH: Final = 200
"""Cohort memberships in one call; 100 to 240 were the best measured."""


class MoodleSite:
    """`MoodlePort` on one site. Safe to share between threads."""

    def __init__(
        self,
        rest: RestClient,
        settings: MoodleSettings,
        *,
        lock: SiteLock,
        is_managed: Callable[[str], bool],
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call nothing yet.

        Args:
            rest: the connection.
            settings: limits.
            lock: serialises the creation of cohorts, site-wide.
            is_managed: whether the settings' cohort templates can produce this idnumber.
            read_only: the site is only observed: a probe looks at no right to write.
            clock: monotonic seconds.
        """
        self._rest = rest
        self._settings = settings
        self._read_only = read_only
        self._is_managed = is_managed
        self._clock = clock
        self._functions = MoodleFunctions(rest, settings)
        self._rights = Rights(self._functions)
        self._users = Users(self._functions, settings)
        self._deletions = Deletions(self._functions, settings)
        self._catalogue = CohortCatalogue(
            self._functions, lock, settings.verb_s_max + settings.execution_s_max
        )
        self._members = Memberships(self._functions, self._catalogue, is_managed, clock=clock)

    def read(self, batch: Sequence[WantedUser], deadline: Deadline) -> Mapping[str, Seen]:
        """See `MoodlePort.read`. Memberships are those of managed and of wanted cohorts."""
        works = [Work(wanted) for wanted in batch]
        with self._doubting(deadline):
            self._rights.ensure(deadline)
            self._observe(works, deadline)
            taken = self._users.taken(works, deadline)
        return {
            work.wanted.idnumber: Seen(
                work.wanted.idnumber,
                work.users,
                tuple(sorted(set(work.cohorts.values()))),
                login_taken=work.wanted.idnumber in taken,
            )
            for work in works
        }

    def apply(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, MoodleFault]:
        """See `MoodlePort.apply`."""
        works = [self._work(wanted, seen[wanted.idnumber]) for wanted in batch]
        left = works
        with self._doubting(deadline):
            try:
                self._rights.ensure(deadline)
                for _ in range(_WRITING_ROUNDS):
                    self._write([work for work in left if not work.unknown], deadline)
                    left = [work for work in left if work.troubled]
                    if not left:
                        break
                    self._observe(left, deadline)
                    left = [work for work in left if work.open() or work.unknown]
            except OutOfTime:
                for work in left:
                    work.lately = MoodleFault(MoodleCause.OUT_OF_TIME)
        faults = {work.wanted.idnumber: work.faults(finished=work not in left) for work in works}
        return {number: found[0] for number, found in faults.items() if found}

    def close(self, users: Sequence[User], deadline: Deadline) -> Mapping[int, MoodleFault]:
        """See `MoodlePort.close`."""
        works = [
            Work(WantedUser(user.idnumber, {}, suspended=True, cohorts={}, create=False), (user,))
            for user in users
        ]
        with self._doubting(deadline):
            self._rights.ensure(deadline)
            self._users.write(works, deadline)
        faults = {work.users[0].id: work.faults(finished=not work.troubled) for work in works}
        return {id_: found[0] for id_, found in faults.items() if found}

    def foresee(
        self, batch: Sequence[WantedUser], seen: Mapping[str, Seen], deadline: Deadline
    ) -> Mapping[str, MoodleFault]:
        """See `MoodlePort.foresee`."""
        works = [Work(wanted, seen[wanted.idnumber].users) for wanted in batch]
        joining = {
            work.wanted.idnumber: {
                key: name
                for key, name in work.wanted.cohorts.items()
                if (work.to_create or work.user) and key not in seen[work.wanted.idnumber].cohorts
            }
            for work in works
        }
        with self._doubting(deadline):
            self._rights.ensure(deadline)
            self._users.foresee(works, deadline)
            wanted = {key: name for each in joining.values() for key, name in each.items()}
            faults = self._catalogue.foresee(wanted, deadline)
        for work in works:
            work.cohort_faults = {key: faults[key] for key in joining[work.wanted.idnumber] if key in faults}
        return {work.wanted.idnumber: found[0] for work in works if (found := work.faults(finished=True))}

    def forget(self) -> None:
        """See `MoodlePort.forget`."""
        self._members.doubt()

    def dump(self) -> Iterator[Seen]:
        """See `MoodlePort.dump`."""
        deadline = self._deadline()
        with self._doubting(deadline):
            self._rights.ensure(deadline)
            self._members.doubt()
            self._members.refresh(None, deadline, since=self._clock())
            cohorts_of = self._members.everybody()
            for user in self._functions.everybody(self._deadline()):
                keys = map(self._catalogue.idnumber_of, cohorts_of.get(user.id, ()))
                yield Seen(
                    user.idnumber, (user,), tuple(sorted({key for key in keys if self._is_managed(key)}))
                )

    def renamed(
        self, cohorts: Mapping[str, Collection[str]], deadline: Deadline
    ) -> Mapping[str, tuple[str, ...]]:
        """See `MoodlePort.renamed`."""
        with self._doubting(deadline):
            self._rights.ensure(deadline)
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
        members = self._members.live([mine.id, *(each.id for each in strays)], deadline, since=self._clock())
        ours = members.get(mine.id, frozenset())
        return [each for each in strays if members.get(each.id, frozenset()) & ours]

    def erase(
        self, users: Sequence[User], pseudonyms: Mapping[int, str], deadline: Deadline
    ) -> Mapping[int, MoodleFault]:
        """See `MoodlePort.erase`."""
        with self._doubting(deadline):
            self._rights.ensure(deadline)
            return self._deletions.erase(users, pseudonyms, deadline)

    def remove_cohorts(self, keys: Collection[str], deadline: Deadline) -> Collection[str]:
        """See `MoodlePort.remove_cohorts`."""
        with self._doubting(deadline):
            self._catalogue.load(deadline)
            found = {each.id: each.idnumber for key in keys for each in self._catalogue.with_idnumber(key)}
            members = self._functions.members_of(list(found), deadline)
            empty = [id_ for id_ in found if not members.get(id_)]
            if empty and self._functions.delete_cohorts(empty, deadline):
                self._members.doubt()
                return [key for id_, key in found.items() if id_ not in empty]
        return list(found.values())

    def probe_erasing(self, deadline: Deadline) -> None:
        """See `MoodlePort.probe_erasing`."""
        with self._doubting(deadline):
            self._rights.verify_erasing(deadline)

    def probe(self, deadline: Deadline) -> None:
        """See `MoodlePort.probe`."""
        with self._doubting(deadline):
            if self._read_only:
                self._rights.verify(deadline)
            else:
                self._rights.verify_writing(deadline)

    def lacking_packs(self, deadline: Deadline) -> Sequence[str]:
        """See `MoodlePort.lacking_packs`."""
        with self._doubting(deadline):
            return self._rights.lacking_packs(self._settings.languages.values(), deadline)

    def shut(self) -> None:
        """See `MoodlePort.shut`."""
        self._rest.close()

    def _deadline(self) -> Deadline:
        return Deadline.after(self._settings.call_s_max, self._clock)

    @contextmanager
    def _doubting(self, deadline: Deadline) -> Iterator[None]:
        """Verify rights again after the site refused the service user.

        On any failure of the call, record whether a write may still take effect.
        """
        try:
            yield
        except (TargetDown, Throttled, Misconfigured) as error:
            error.unknown = deadline.unanswered
            self._members.doubt()  # what was written may not have been read
            if isinstance(error, Misconfigured):
                self._rights.forget()
            raise
        except CallFailed as error:
            # Writes leave their faults with the students: what arrives here is a read that cannot be had.
            self._members.doubt()
            raise TargetDown(f"Moodle cannot be read: {error}", unknown=deadline.unanswered) from error

    def _work(self, wanted: WantedUser, seen: Seen) -> Work:
        """A student as seen before."""
        inside = {each.id: key for key in seen.cohorts for each in self._catalogue.with_idnumber(key)}
        return Work(wanted, seen.users, inside)

    def _observe(self, works: Sequence[Work], deadline: Deadline) -> None:
        """Observe these students; memberships as they are from now on."""
        since = self._clock()
        self._users.observe(works, deadline)
        present = [(work, work.user) for work in works if work.user is not None]
        if present:
            self._members.refresh([user.id for _, user in present], deadline, since=since)
            self._catalogue.ensure_loaded(deadline)
            self._observe_members(present, deadline, since=since)
        for work in works:
            work.observed()

    def _observe_members(
        self, present: Sequence[tuple[Work, User]], deadline: Deadline, *, since: float
    ) -> None:
        look_at = {
            user.id: self._members.remembered(user.id)
            | {cohort.id for key in work.wanted.cohorts for cohort in self._catalogue.with_idnumber(key)}
            | set(work.cohorts)
            for work, user in present
        }
        live = self._members.live(
            {cohort for cohorts in look_at.values() for cohort in cohorts}, deadline, since=since
        )
        for work, user in present:
            inside = {
                id_: self._catalogue.idnumber_of(id_) for id_, users in live.items() if user.id in users
            }
            work.cohorts = {
                id_: key for id_, key in inside.items() if key in work.wanted.cohorts or self._is_managed(key)
            }

    def _write(self, works: Sequence[Work], deadline: Deadline) -> None:
        self._users.write(works, deadline)
        self._members.created([work.users[0].id for work in works if work.created])
        wanted = {key: name for work in works for key, name in work.wanted.cohorts.items()}
        faults = self._catalogue.ensure(wanted, deadline)
        for work in works:
            work.cohort_faults = {key: faults[key] for key in work.wanted.cohorts if key in faults}
        self._join(works, deadline)
        self._leave(works, deadline)

    def _join(self, works: Sequence[Work], deadline: Deadline) -> None:
        rows = [(work, work.users[0], key) for work in works if not work.unknown for key in work.to_join()]

        for _, user, key in rows:
            self._members.joining(user.id, (cohort.id for cohort in self._catalogue.with_idnumber(key)))

        def call(some: Sequence[tuple[Work, User, str]]) -> list[None]:
            self._functions.add_members([(key, user.id) for _, user, key in some], deadline)
            return [None] * len(some)

        report = carry(rows, self._functions.rows(4, MEMBER_BATCH), call)
        _note_refused(report.failed)

    def _leave(self, works: Sequence[Work], deadline: Deadline) -> None:
        rows = [(work, work.users[0], id_) for work in works if not work.unknown for id_ in work.to_leave()]

        def call(some: Sequence[tuple[Work, User, int]]) -> list[None]:
            self._functions.remove_members([(cohort, user.id) for _, user, cohort in some], deadline)
            return [None] * len(some)

        report = carry(rows, self._functions.rows(2, MEMBER_BATCH), call)
        _note_refused(report.failed)


def _note_refused(
    failed: Sequence[Failure[tuple[Work, User, str]]] | Sequence[Failure[tuple[Work, User, int]]],
) -> None:
    """Note refused memberships, to try them once more after the next observation.

    Another writer may have been faster.
    """
    for failure in failed:
        work = failure.row[0]
        work.members_unknown = work.members_unknown or isinstance(failure.error, OutcomeUnknown)
        note_lost(work, failure.error)
