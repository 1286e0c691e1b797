"""Which Moodle cohorts are the pipeline's own: what a template makes of an enrolment that was ever known.

A cohort that merely looks like one (`club-2026`) belongs to somebody else, and nobody is removed from it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy import select

from pipeline.store.database import Database
from pipeline.store.tables import enrolments

LOOK_AGAIN_AFTER_S = 30.0
_FIELD = re.compile(r"\{([a-z_]+)\}")
_KEY_FIELDS = ("year", "step", "step_version")  # what identifies an enrolment; other fields may be anything


class ManagedCohorts:
    """Tells a managed cohort by its idnumber. Thread-safe.

    Args:
        templates: of the cohorts' keys, e.g. `{step}-{year}`.
        monotonic: seconds; enrolments are looked up again after a while.
    """

    def __init__(
        self, database: Database, templates: Sequence[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._patterns = [re.compile(_pattern(template)) for template in templates]
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: frozenset[tuple[str, str, str]] = frozenset()
        self._looked_at: float | None = None

    def __call__(self, idnumber: str) -> bool:
        """Whether the pipeline decides who belongs to this cohort.

        Raises:
            StoreUnavailable: the enrolments cannot be read just now.
        """
        matches = [match for pattern in self._patterns if (match := pattern.fullmatch(idnumber))]
        return bool(matches) and any(self._is_known(match.groupdict()) for match in matches)

    def _is_known(self, fields: dict[str, str]) -> bool:
        wanted = [(index, fields[name]) for index, name in enumerate(_KEY_FIELDS) if name in fields]
        return any(all(known[index] == value for index, value in wanted) for known in self._enrolments())

    def _enrolments(self) -> frozenset[tuple[str, str, str]]:
        with self._lock:
            now = self._monotonic()
            if self._looked_at is None or now - self._looked_at > LOOK_AGAIN_AFTER_S:
                columns = (enrolments.c.year, enrolments.c.step, enrolments.c.step_version)
                with self._database.read() as connection:
                    rows = connection.execute(select(*columns).distinct()).all()
                self._known = frozenset((str(year), step, version) for year, step, version in rows)
                self._looked_at = now
            return self._known


def _pattern(template: str) -> str:
    """The regular expression of all that a template can make; a field that comes twice is the same twice."""
    seen: set[str] = set()

    def part(text: str) -> str:
        field = _FIELD.fullmatch(text)
        if field is None:
            return re.escape(text)
        name = field[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{'[0-9]{4}' if name == 'year' else '.+'})"

    return "".join(part(text) for text in re.split(r"(\{[a-z_]+\})", template))
