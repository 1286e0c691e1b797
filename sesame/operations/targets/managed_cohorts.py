"""Moodle cohorts that are the pipeline's own.

A template makes them of any known enrolment, or of any known teaching unit and group. A cohort that merely
looks like one (`club-2026`) is another owner's, and no member is ever removed from it. So the names are made
as in the registry, and compared whole: a pattern could not tell where a step ends and its version begins.

A template that names the component or the step's label needs an enrolment in full, and a cancelled one is not
kept in full: a cohort of cancelled enrolments only is forgotten when the process ends, and then left alone.
"""

from __future__ import annotations

import string
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Row, select

from consumers.registry import teachings
from consumers.registry.people import enrolments
from consumers.registry.settings import MembershipTemplate
from pipeline.db.database import Database
from schemas.account import NO_YEAR, STUDENT, Enrolment

LOOK_AGAIN_AFTER_S = 30.0
LOOK_FOR_UNKNOWN_AFTER_S = 1.0  # an enrolment of this very moment may have made it
_KEY_FIELDS = frozenset({"year", "step", "step_version"})  # what every enrolment's row has


class ManagedCohorts:
    """Recognises a managed cohort by its idnumber. Thread-safe.

    `templates`: of the cohorts.
    """

    def __init__(
        self,
        database: Database,
        templates: Sequence[MembershipTemplate],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._taught = tuple(each.key for each in templates if each.of_teachings)
        self._templates = tuple((each.key, each.populations) for each in templates if not each.of_teachings)
        self._in_full = not all(_fields(template) <= _KEY_FIELDS for template, _ in self._templates)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._looked_at: float | None = None

    def __call__(self, idnumber: str) -> bool:
        """Whether the pipeline manages this cohort's members.

        Raises `StoreUnavailable`: the enrolments cannot be read just now.
        """
        with self._lock:
            known = idnumber in self._known
            patience_s = LOOK_AGAIN_AFTER_S if known else LOOK_FOR_UNKNOWN_AFTER_S
            now = self._monotonic()
            if self._looked_at is None or now - self._looked_at > patience_s:
                self._known.update(self._made())
                self._looked_at = now
            return idnumber in self._known

    def _made(self) -> Iterator[str]:
        """Every name that the templates make of the enrolments and teachings on record."""
        columns: list[Any] = [enrolments.c.year, enrolments.c.step, enrolments.c.step_version]
        if self._in_full:
            columns.append(enrolments.c.document)
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).distinct()).all() if self._templates else []
            taught = teachings.ever_known(connection) if self._taught else []
        for year, element, group in taught:
            given = {"year": year, "element": element} | ({"group": group} if group else {})
            yield from (each.format(**given) for each in self._taught if _fields(each) <= given.keys())
        for row in rows:
            fields = self._fields_of(row)
            population = row.step if row.year == NO_YEAR else STUDENT
            yield from (
                template.format(**fields)
                for template, populations in self._templates
                if population in populations and _fields(template) <= fields.keys()
            )

    def _fields_of(self, row: Row[Any]) -> dict[str, object]:
        fields: dict[str, object] = {
            "year": row.year,
            "step": row.step,
            "step_version": row.step_version,
        }
        if self._in_full and row.document is not None:
            enrolment = Enrolment.model_validate_json(row.document)
            fields |= {"component": enrolment.component, "step_label": enrolment.step_label}
        return fields


def _fields(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)
