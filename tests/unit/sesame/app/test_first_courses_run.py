"""Bulk work by first courses, through the partitions of the log."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, func, select

from pipeline import pauses
from pipeline.accounts import accounts
from schemas import catalogue
from sesame.acts.acts import Actor, Role
from sesame.operations.access.activation import EverybodyRequest, activate_all
from sesame.operations.imports.acts import ImportRequest, import_files
from sesame.testing.servers.registrar_kit import COLUMNS, students
from sesame.testing.servers.running_kit import Run, Site

ODILE = Actor("odile", frozenset(Role))
EACH = 250
GROUPS = ("MED", "SCI", "LET")  # in the file; courses begin with SCI's, and MED has none
COURSES = "component;begins\nLET;2026-09-07T14:00\nSCI;2026-09-07T08:00\n"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    site = Site(tmp_path)
    run = Run(site)
    yield run
    run.stop()
    site.close()


def export(folder: Path, label: str) -> tuple[Path, dict[str, str]]:
    """A file, and each number's component."""
    year = str(datetime.now(UTC).year)
    rows = [
        row | {"COD_CMP": GROUPS[place // EACH], "LIB_ETP": label, "COD_ANU": year}
        for place, row in enumerate(students(EACH * len(GROUPS)))
    ]
    path = folder / "export.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path, {row["COD_ETU"]: row["COD_CMP"] for row in rows}


def take_in(site: Site, file: Path) -> None:
    request = ImportRequest(file=file, passing=True)
    import_files(site, ODILE, request, clock=lambda: datetime.now(UTC), progress=lambda *_: None)


def count(site: Site, column: ColumnElement[Any]) -> int:
    with site.database.read() as connection:
        return int(connection.scalar(select(func.count(column))) or 0)


def is_read(site: Site) -> bool:
    """Whether Moodle's worker has read all bells that have been rung."""
    return all(
        site.log.committed("moodle", topic) == site.log.end_offsets(topic)
        for topic in catalogue.both_lanes(catalogue.ACCOUNTS)
    )


def served(run: Run, components: dict[str, str]) -> list[str]:
    """The components in the order in which their students were served, from the last start on."""
    run.until(lambda: len({n for call in run.site.handlers[-1].calls for n in call}) == len(components))
    return [components[number] for call in run.site.handlers[-1].calls for number in call]


def test_of_all_in_the_queue_those_of_the_first_course_are_done_before_those_of_a_later_one(
    run: Run, tmp_path: Path
) -> None:
    courses = tmp_path / "courses.csv"
    courses.write_text(COURSES, encoding="utf-8")
    file, components = export(tmp_path, "Licence")
    run.start()
    take_in(run.site, file)
    run.until(lambda: count(run.site, accounts.c.student_number) == len(components))
    run.until(lambda: is_read(run.site))
    with run.site.database.write() as connection:
        pauses.place(connection, run.site.database, "moodle", actor="odile", reason="")
    request = EverybodyRequest(first_courses=courses)
    activate_all(run.site, ODILE, request, clock=lambda: datetime.now(UTC), progress=lambda _n: None)
    run.until(lambda: count(run.site, accounts.c.activated_at) == len(components))
    with run.site.database.write() as connection:
        pauses.lift(connection, "moodle")
    order = served(run, components)
    last = {name: len(order) - 1 - order[::-1].index(name) for name in GROUPS}
    first = {name: order.index(name) for name in GROUPS}
    assert last["SCI"] < first["MED"], "between neighbours calls and partitions overlap"
    assert last["SCI"] < last["LET"] < last["MED"]
    assert first["SCI"] < first["LET"] < first["MED"]
    assert len(order) == len(components), "each once: the last one is no later than without it"
