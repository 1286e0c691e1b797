"""Which cohorts are the pipeline's own: exactly those that a template makes of an enrolment on record."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert

from consumers.registry.people import enrolments
from consumers.registry.settings import MembershipTemplate
from pipeline.db.database import Database
from schemas.account import Administrative, Enrolment, Pedagogical
from sesame.operations.targets.managed_cohorts import LOOK_AGAIN_AFTER_S, ManagedCohorts


def enrol(
    database: Database,
    step: str = "L1INFO",
    year: int = 2026,
    *,
    version: str = "261",
    component: str = "SCI",
    student: str = "22001234",
    cancelled: bool = False,
) -> None:
    enrolment = Enrolment(
        year=year,
        step=step,
        step_version=version,
        step_label="Licence 1 Informatique",
        component=component,
        administrative=Administrative.IN_FORCE,
        pedagogical=Pedagogical.VALIDATED,
    )
    with database.write() as connection:
        connection.execute(
            insert(enrolments).values(
                student_number=student,
                year=year,
                step=step,
                step_version=version,
                source_sequence=1,
                cancelled=cancelled,
                document=None if cancelled else enrolment.model_dump_json(),
            )
        )


class Monotonic:
    """Seconds that are told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def managed(database: Database, *templates: str, clock: Monotonic | None = None) -> ManagedCohorts:
    keys = templates or ("{step}-{year}",)
    made = [MembershipTemplate(key=key, name=key) for key in keys]
    return ManagedCohorts(database, made, monotonic=clock or Monotonic())


def test_a_cohort_of_a_known_enrolment_is_managed_and_one_that_looks_like_it_is_not(
    database: Database,
) -> None:
    enrol(database)
    is_managed = managed(database)
    assert is_managed("L1INFO-2026")
    for other in (
        "club-2026",
        "L1INFO-2025",
        "L1INFO-2026-bis",
        "xL1INFO-2026",
        "L1INFO-",
        "",
        "l1info-2026",
    ):
        assert not is_managed(other)


def test_a_cancelled_enrolments_cohort_stays_managed_so_that_its_members_are_taken_out(
    database: Database,
) -> None:
    enrol(database, cancelled=True)
    assert managed(database)("L1INFO-2026")


@pytest.mark.parametrize("template", ["{component}-{year}", "{step_label} {year}"])
def test_a_template_of_the_component_manages_no_cohort_that_merely_ends_alike(
    database: Database, template: str
) -> None:
    enrol(database)
    is_managed = managed(database, template)
    assert is_managed("SCI-2026") is (template == "{component}-{year}")
    assert is_managed("Licence 1 Informatique 2026") is (template == "{step_label} {year}")
    assert not is_managed("club-2026")
    assert not is_managed("club 2026")


@pytest.mark.parametrize(
    ("step", "version"), [("L1-INFO", "261"), ("L1INFO", "26-1"), ("L1-INFO", "26-1"), ("L1INFO.*", "(261")]
)
def test_a_step_or_version_with_the_templates_own_signs_is_told_apart(
    database: Database, step: str, version: str
) -> None:
    enrol(database, step, version=version)
    is_managed = managed(database, "{step}-{step_version}-{year}")
    assert is_managed(f"{step}-{version}-2026")
    assert not is_managed("L1INFOxx-(261-2026")


def test_a_field_that_comes_twice_is_the_same_twice(database: Database) -> None:
    enrol(database)
    is_managed = managed(database, "{year}/{step}/{year}")
    assert is_managed("2026/L1INFO/2026")
    assert not is_managed("2026/L1INFO/2025")


def test_fields_of_different_enrolments_are_not_mixed(database: Database) -> None:
    enrol(database, "L1INFO", 2026)
    enrol(database, "M1DROIT", 2025, student="22005678")
    is_managed = managed(database)
    assert [is_managed(f"{step}-{year}") for step in ("L1INFO", "M1DROIT") for year in (2025, 2026)] == [
        False,
        True,
        True,
        False,
    ]


def test_several_templates_are_managed_each(database: Database) -> None:
    enrol(database)
    is_managed = managed(database, "{step}-{year}", "promo-{year}", "étudiants")
    assert [is_managed(key) for key in ("L1INFO-2026", "promo-2026", "étudiants", "promo-2025")] == [
        True,
        True,
        True,
        False,
    ]


def test_nothing_is_managed_before_the_first_enrolment(database: Database) -> None:
    assert not managed(database)("L1INFO-2026")


def test_an_enrolment_of_this_moment_is_known_soon_and_the_known_ones_cost_no_look(
    database: Database,
) -> None:
    clock = Monotonic()
    is_managed = managed(database, clock=clock)
    assert not is_managed("L1INFO-2026")
    enrol(database)
    clock.now += 1.1
    assert is_managed("L1INFO-2026")
    with database.write() as connection:
        connection.execute(delete(enrolments))
    assert is_managed("L1INFO-2026")


def test_a_cohort_that_was_known_once_is_managed_while_the_process_lives(database: Database) -> None:
    """Its last enrolment was cancelled: the row has no component any more, and its members must go."""
    clock = Monotonic()
    enrol(database)
    is_managed = managed(database, "{component}-{year}", clock=clock)
    assert is_managed("SCI-2026")
    with database.write() as connection:
        connection.execute(delete(enrolments))
    enrol(database, cancelled=True)
    clock.now += LOOK_AGAIN_AFTER_S + 1
    assert is_managed("SCI-2026")
