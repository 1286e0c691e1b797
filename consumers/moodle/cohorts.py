"""Cohorts by their exact idnumber: found, or created once for the whole site.

Moodle refuses a second cohort with the same idnumber, but only when asked politely: eight creations at once
made five. So creation is serialised over every process of the pipeline, looks first, and looks again
afterwards.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from html import unescape
from typing import Final, Protocol

from consumers.kit.connector import tidy
from consumers.kit.deadline import Deadline, OutOfTime
from consumers.moodle.bulk import carry
from consumers.moodle.causes import Fault, MoodleCause
from consumers.moodle.causes import fault as fault_of
from consumers.moodle.errors import CallFailed, MoodleRefused, OutcomeUnknown, WriteRefused
from consumers.moodle.functions import Cohort, MoodleFunctions
from pipeline.locks import LockHeld

CREATION_LOCK: Final = "moodle.cohort-creation"

_IDNUMBER_CHARS_MAX: Final = 100  # mdl_cohort.idnumber
_NAME_CHARS_MAX: Final = 254  # mdl_cohort.name
_FIELDS: Final = 4  # categorytype (type, value), name, idnumber
_CREATED_PER_CALL: Final = 50
_SEARCHED_ONE_BY_ONE: Final = 3  # above that, one listing of all cohorts is cheaper


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


class CohortCatalogue:
    """The site's cohorts as last seen; ids are remembered until contradicted."""

    def __init__(self, functions: MoodleFunctions, lock: SiteLock, last_s: float) -> None:
        """Make an empty catalogue; read nothing yet.

        Args:
            functions: of the site.
            lock: serialises creation, site-wide.
            last_s: the longest time in seconds of a call that was begun in time, the site's execution of it
                included.
        """
        self._functions = functions
        self._site_lock = lock
        self._last_s = last_s
        self._lock = threading.Lock()
        self._cohorts: dict[int, Cohort] | None = None

    def load(self, deadline: Deadline) -> list[Cohort]:
        """Read every cohort of the site, and remember them."""
        cohorts = self._functions.all_cohorts(deadline)
        with self._lock:
            self._cohorts = {cohort.id: cohort for cohort in cohorts}
        return cohorts

    def with_idnumber(self, idnumber: str) -> tuple[Cohort, ...]:
        """The remembered cohorts of exactly this idnumber.

        More than one is a fault of the site's.
        """
        return tuple(cohort for cohort in self._remembered() if cohort.idnumber == idnumber)

    def idnumber_of(self, cohort_id: int) -> str:
        """The idnumber of a remembered cohort; empty when it is not known."""
        with self._lock:
            cohort = (self._cohorts or {}).get(cohort_id)
        return cohort.idnumber if cohort else ""

    def ensure_loaded(self, deadline: Deadline) -> None:
        """Read every cohort unless they are remembered."""
        with self._lock:
            loaded = self._cohorts is not None
        if not loaded:
            self.load(deadline)

    def ensure(self, wanted: Mapping[str, str], deadline: Deadline) -> dict[str, Fault]:
        """Have one cohort for each idnumber: find it or create it.

        Args:
            wanted: idnumber to the name that a new cohort gets. An existing one keeps its name.
            deadline: of the batch.

        Returns:
            The obstacle, by idnumber.

        Raises:
            OutOfTime: the time is used up, perhaps in waiting for another process that creates some.
        """
        self.ensure_loaded(deadline)
        missing = {key: name for key, name in wanted.items() if len(self.with_idnumber(key)) != 1}
        if not missing:
            return {}
        faults = {
            key: fault_of(MoodleCause.COHORT_REFUSED, key)
            for key, name in missing.items()
            if not _valid(key, name)
        }
        missing = {key: name for key, name in missing.items() if key not in faults}
        if missing:
            faults |= self._alone(missing, deadline)
        return faults

    def foresee(self, wanted: Mapping[str, str], deadline: Deadline) -> dict[str, Fault]:
        """Obstacles to one cohort per idnumber, freshly read; makes none."""
        if not wanted:
            return {}
        self.load(deadline)
        return {key: fault for key, name in wanted.items() if (fault := self._in_the_way(key, name))}

    def _in_the_way(self, key: str, name: str) -> Fault | None:
        if (fault := self._ambiguous(key)) or len(self.with_idnumber(key)) == 1:
            return fault
        return None if _valid(key, name) else fault_of(MoodleCause.COHORT_REFUSED, key)

    def _alone(self, wanted: Mapping[str, str], deadline: Deadline) -> dict[str, Fault]:
        left_s = deadline.left_s()
        try:
            with self._site_lock.hold(CREATION_LOCK, ttl_s=left_s + self._last_s, wait_s=left_s):
                return self._find_or_create(wanted, deadline)
        except LockHeld as error:
            raise OutOfTime(f"cohorts are being created elsewhere: {error}") from error

    def _find_or_create(self, wanted: Mapping[str, str], deadline: Deadline) -> dict[str, Fault]:
        self._look_up(wanted, deadline)
        absent = [key for key in wanted if not self.with_idnumber(key)]
        errors: dict[str, CallFailed | OutOfTime] = {}
        if absent:
            rows = [(key, wanted[key][:_NAME_CHARS_MAX]) for key in absent]
            report = carry(
                rows,
                self._functions.rows(_FIELDS, _CREATED_PER_CALL),
                lambda some: self._functions.create_cohorts(some, deadline),
            )
            errors = {failure.row[0]: failure.error for failure in report.failed}
            self._look_up(absent, deadline)  # what is there now counts, whichever process made it
        return {key: fault for key in wanted if (fault := self._fault(key, errors.get(key)))}

    def _look_up(self, idnumbers: Iterable[str], deadline: Deadline) -> None:
        keys = list(idnumbers)
        if len(keys) > _SEARCHED_ONE_BY_ONE:
            self.load(deadline)
            return
        for key in keys:
            found = self._functions.search_cohorts(key, deadline)
            with self._lock:
                others = [each for each in (self._cohorts or {}).values() if each.idnumber != key]
                self._cohorts = {cohort.id: cohort for cohort in (*others, *found)}

    def _fault(self, key: str, error: CallFailed | OutOfTime | None) -> Fault | None:
        if (fault := self._ambiguous(key)) or self.with_idnumber(key):
            return fault
        if isinstance(error, OutcomeUnknown):
            return fault_of(MoodleCause.OUTCOME_UNKNOWN, key)
        if isinstance(error, OutOfTime):
            return fault_of(MoodleCause.OUT_OF_TIME, key)
        if isinstance(error, MoodleRefused) and not isinstance(error, WriteRefused):
            return fault_of(MoodleCause.COHORT_REFUSED, key)
        return fault_of(MoodleCause.BUSY if isinstance(error, WriteRefused) else MoodleCause.BROKEN, key)

    def _ambiguous(self, key: str) -> Fault | None:
        """The fault of the existing cohorts for this idnumber; None: there is none."""
        found = self.with_idnumber(key)
        if len(found) > 1:
            return fault_of(MoodleCause.DUPLICATE_COHORT, key)
        if not found and any(_folded(cohort.idnumber) == _folded(key) for cohort in self._remembered()):
            return fault_of(MoodleCause.COHORT_CONFLICT, key)
        return None

    def _remembered(self) -> Sequence[Cohort]:
        with self._lock:
            return list((self._cohorts or {}).values())


def _valid(idnumber: str, name: str) -> bool:
    return bool(idnumber.strip()) and bool(name.strip()) and len(idnumber) <= _IDNUMBER_CHARS_MAX


def shown_name(name: str) -> str:
    """A cohort's name for comparison: as long as Moodle keeps it, and as it shows it."""
    return tidy(unescape(name)[:_NAME_CHARS_MAX])


def _folded(text: str) -> str:
    """Fold what the usual collations take for equal.

    They ignore case, accents and trailing blanks.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char)).rstrip()
