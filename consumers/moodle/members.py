"""Members of managed cohorts: the only way to find memberships to remove.

Moodle has no call "cohorts of a user", and an account carries only the cohorts of the present. A table of
what was given would be blind to what others did, and wrong after a restore; reading every managed cohort
for every batch would take 1,600 times 160,000 memberships for 80,000 students. So a picture of all managed
cohorts is kept in memory. It only says which cohorts to look at: each is then read live, in one call,
together with those that are wanted, before any removal and before any report of `done`. What a batch has
read since it began counts as live: a batch reads once, for all that share it.

The picture costs at most a twentieth of the time, whatever the size of the site: it may be used for twenty
times as long as it took to read, and never beyond `AGE_S_MAX`. It is read again when a batch must compare,
as when a worker takes a student over from another process. A user whom this process has just created needs
no picture. What this process writes is in it at once, since every write is followed by a live read.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from consumers.kit.deadline import Deadline
from consumers.moodle.cohorts import CohortCatalogue
from consumers.moodle.errors import MoodleRefused
from consumers.moodle.functions import MoodleFunctions
from pipeline.errors import TargetDown

AGE_S_MAX: Final = 60.0
"""The oldest picture to use: how soon a membership made by others is noticed."""

_SHARE: Final = 20.0  # the picture may be used this many times as long as it took to read


class Memberships:
    """Members of managed cohorts, by user id. Safe to share between threads."""

    def __init__(
        self,
        functions: MoodleFunctions,
        catalogue: CohortCatalogue,
        is_managed: Callable[[str], bool],
        *,
        clock: Callable[[], float],
    ) -> None:
        """Make an empty picture; read nothing yet.

        Args:
            functions: the site.
            catalogue: its cohorts.
            is_managed: whether the settings' templates can produce this idnumber.
            clock: monotonic seconds.
        """
        self._functions = functions
        self._catalogue = catalogue
        self._is_managed = is_managed
        self._clock = clock
        self._loading = threading.Lock()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._waiting: set[int] = set()  # cohorts that a caller wants to have read
        self._members: dict[int, tuple[float, frozenset[int]]] = {}  # cohort id: read at, user ids
        self._created: dict[int, float] = {}  # user id: when
        self._read_at: float | None = None
        self._doubted_at = -math.inf
        self._usable_s = 0.0

    def doubt(self) -> None:
        """Require a picture begun from now on. Several callers share one reading."""
        self._doubted_at = self._clock()

    def created(self, users: Collection[int]) -> None:
        """Record users created just now: they have no memberships yet."""
        now = self._clock()
        with self._lock:
            young = {user: at for user, at in self._created.items() if now - at <= AGE_S_MAX}
            self._created = young | dict.fromkeys(users, now)

    def joining(self, users: Mapping[int, Collection[int]]) -> None:
        """Note users who may be in a cohort, by its id; checked until the next picture."""
        with self._lock:
            for cohort, added in users.items():
                at, known = self._members.get(cohort, (-math.inf, frozenset()))
                self._members[cohort] = (at, known.union(added))

    def refresh(self, users: Collection[int] | None, deadline: Deadline, *, since: float) -> None:
        """Have a picture that is recent enough for these users.

        Args:
            users: who is looked at; None: everybody.
            deadline: of the batch.
            since: one that was begun by then will do, by the clock.
        """
        with self._loading:
            now = self._clock()
            if users is not None and all(self._just_created(user, now) for user in users):
                return
            if self._read_at is not None:
                recent = now - self._read_at <= min(self._usable_s, AGE_S_MAX)
                if self._read_at >= since or (recent and self._read_at >= self._doubted_at):
                    return
            managed = [
                cohort.id for cohort in self._catalogue.load(deadline) if self._is_managed(cohort.idnumber)
            ]
            members = self._functions.members_of(managed, deadline)
            with self._lock:
                later = {cohort: entry for cohort, entry in self._members.items() if entry[0] > now}
                self._members = {cohort: (now, users) for cohort, users in members.items()} | later
            self._usable_s = _SHARE * (self._clock() - now)
            self._read_at = now

    def _just_created(self, user: int, now: float) -> bool:
        at = self._created.get(user, -math.inf)
        return at >= self._doubted_at and now - at <= AGE_S_MAX

    def forget(self) -> None:
        """A cohort turned out to be gone: read the picture again before its next use."""
        with self._loading:
            self._read_at = None
        with self._lock:
            self._members = {}

    def remembered(self, user: int) -> set[int]:
        """Ids of the managed cohorts that the user was in, by the picture."""
        with self._lock:
            found = {cohort for cohort, (_, users) in self._members.items() if user in users}
        # Cohorts that were merely wanted once are remembered too; no user is removed from those.
        return {cohort for cohort in found if self._is_managed(self._catalogue.idnumber_of(cohort))}

    def live(self, cohorts: Iterable[int], deadline: Deadline, *, since: float) -> dict[int, frozenset[int]]:
        """Members of these cohorts, read at `since` (by the clock) or later. A cohort that is gone meanwhile
        is left out.

        A cohort is read whole, and a large one costs each reading more. So one batch reads at a time, for all
        that wait by then: it has begun after their writes.

        Raises:
            TargetDown: cohorts vanish faster than they can be read.
        """
        wanted = set(cohorts)
        found = self._read_since(wanted, since)
        if found.keys() == wanted:
            return found
        with self._lock:
            self._waiting |= wanted - found.keys()
        with self._reading:
            found = self._read_since(wanted, since)
            if missing := wanted - found.keys():
                with self._lock:
                    ids, self._waiting = missing | self._waiting, set()
                read = self._still_there(sorted(ids), deadline)
                found |= {cohort: read[cohort] for cohort in missing & read.keys()}
        return found

    def _read_since(self, cohorts: set[int], since: float) -> dict[int, frozenset[int]]:
        with self._lock:
            entries = {cohort: self._members[cohort] for cohort in cohorts & self._members.keys()}
        return {cohort: users for cohort, (begun, users) in entries.items() if begun >= since}

    def _still_there(self, ids: list[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        try:
            return self._read(ids, deadline)
        except MoodleRefused:
            # One of them was deleted behind our back, and Moodle does not say which: ask what there is.
            self.forget()
            left = {cohort.id for cohort in self._catalogue.load(deadline)}
        try:
            return self._read([cohort for cohort in ids if cohort in left], deadline)
        except MoodleRefused as error:
            raise TargetDown(f"the members of the cohorts cannot be read: {error}") from error

    def everybody(self) -> dict[int, set[int]]:
        """Cohort ids by user id, by the picture."""
        cohorts_of: dict[int, set[int]] = {}
        with self._lock:
            entries = list(self._members.items())
        for cohort, (_, users) in entries:
            for user in users:
                cohorts_of.setdefault(user, set()).add(cohort)
        return cohorts_of

    def _read(self, cohorts: list[int], deadline: Deadline) -> dict[int, frozenset[int]]:
        begun = self._clock()
        members = self._functions.members_of(cohorts, deadline)
        if set(members) != set(cohorts):
            raise TargetDown("Moodle left cohorts out of its answer")
        with self._lock:
            for cohort, users in members.items():
                # A slower reading that began earlier must not overwrite what was read after a write.
                if cohort not in self._members or self._members[cohort][0] <= begun:
                    self._members[cohort] = (begun, users)
        return members
