"""Students are found by what somebody has of them; and no look at one of them reads everybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, event

from pipeline import audit
from pipeline.db.database import Database
from sesame.acts.acts import Actor, Role
from sesame.operations.people.diagnosis.person import person_status
from sesame.operations.people.diagnosis.students import StudentsRequest, listed
from sesame.operations.people.diagnosis.timeline import moments
from sesame.operations.people.search import FOUND_MAX, Search, search
from sesame.testing.servers.population_kit import TARGETS, everywhere, site_of, student
from sesame.testing.servers.registry_kit import RegistryHarness, activation, enrolled
from sesame.testing.servers.stores import sqlite_store

SUPPORT = Actor("odile", frozenset({Role.SUPPORT}))


@pytest.fixture
def desk(store_url: str) -> Iterator[RegistryHarness]:
    made = RegistryHarness(store_url)
    yield made
    made.database.close()


def found(desk: RegistryHarness, text: str) -> list[str]:
    site: Any = SimpleNamespace(database=desk.database)
    return [one.student_number for one in search(site, SUPPORT, Search(text=text)).students]


def test_what_is_exact_comes_alone_then_what_begins_so_then_names(desk: RegistryHarness) -> None:
    for place, number in enumerate(("22001234", "22001235", "220012")):
        desk.apply(enrolled(number, place + 1, birth_name=f"Martin{'abc'[place]}", given_name="Zoé"))
    desk.apply(activation("22001234"))
    assert found(desk, "220012") == ["220012"]
    assert found(desk, " 22001234 ") == ["22001234"]
    assert found(desk, "2200123") == ["22001234", "22001235"]
    assert found(desk, "ZOE.MARTINA") == ["22001234"]
    assert found(desk, "zoe.martina@etu.univ-exemple.fr") == ["22001234"]
    assert found(desk, "zoé martinb") == ["22001235"]
    assert found(desk, "ZOÉ") == ["220012", "22001234", "22001235"]
    for nobody in ("", "   ", "zoé durand", "%", "_", "22", "' OR 1=1 --"):
        assert found(desk, nobody) == [], nobody


@pytest.mark.parametrize(
    "text",
    [
        *("A22001234", "a22001234", "a22001", "zoe.martin", "ZOE.MARTIN", "Zoe.Martin@ETU.univ-exemple.FR"),
        *("Zoé Martin", "ZOÉ MARTIN", "zoé martin", "Zoe\u0301 Martin", "martin zoé"),
    ],
)
def test_somebody_is_found_however_the_letters_are_written(desk: RegistryHarness, text: str) -> None:
    desk.apply(enrolled("A22001234", birth_name="Martin", given_name="Zoé"))
    desk.apply(enrolled("A22001235", 2, birth_name="Petit", given_name="Léo"))
    desk.apply(activation("A22001234"))
    shown = found(desk, text)
    assert shown == (["A22001234", "A22001235"] if text == "a22001" else ["A22001234"])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        *(
            (each, ["1"])
            for each in (
                "helene",
                "Hélène",
                "HELENE",
                "hêlene nguyễn",
                "nguyễn",
                "etienne",
                "2007-05-04 helene",
            )
        ),
        *((each, ["2"]) for each in ("gaetan", "Gaëtan", "GAËTAN", "francois", "d'arc", "gaetan d'arc")),
        *((each, ["1", "2"]) for each in ("chez@exemple.fr", "Chez@Exemple.FR", "e")),
        *(
            (each, [])
            for each in (
                "helena",
                "hxlene",
                "birth",
                "given_name",
                "h_lene",
                "chez@exemple",
                "autre@exemple.fr",
            )
        ),
    ],
)
def test_somebody_is_found_without_accents_and_by_a_personal_address(
    desk: RegistryHarness, text: str, numbers: list[str]
) -> None:
    more: dict[str, Any] = {"birth_date": "2007-05-04", "personal_mail": "chez@exemple.fr"}
    desk.apply(enrolled("1", birth_name="Nguyễn", usage_name="Étienne", given_name="HÉLÈNE", **more))
    desk.apply(
        enrolled(
            "2",
            2,
            birth_name="FRANÇOIS",
            usage_name="D'ARC",
            given_name="Gaëtan",
            **more | {"birth_date": "2006-01-02"},
        )
    )
    assert found(desk, text) == numbers


def test_more_than_a_page_of_names_says_that_there_are_others(desk: RegistryHarness) -> None:
    for place in range(FOUND_MAX + 1):
        number = str(22001000 + place)
        desk.apply(enrolled(number, place + 1, birth_name=f"Martin{chr(97 + place)}", given_name="Zoé"))
    site: Any = SimpleNamespace(database=desk.database)
    page = search(site, SUPPORT, Search(text="martin"))
    assert (len(page.students), page.more) == (FOUND_MAX, True)
    with desk.database.read() as connection:
        (look,) = audit.entries(connection, limit=9, action="students.search")
    assert look.detail["count"] == FOUND_MAX
    assert "martin" not in str(look.detail).lower()


# --- what is read -----------------------------------------------------------------------------------

OF_EVERYBODY = "accounts|people|propagation|propagation_targets|target_states|ledger|mail_proofs|attempts"
"""Tables with a row for each student; what is parked is few."""


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """What is asked meanwhile."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, text: str, values: Any, *_more: Any) -> None:
        asked.append((text, values))

    with database.read() as connection:
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def status(connection: Connection, database: Database) -> object:
    return person_status(connection, database, "A", targets=TARGETS, follows={})


LOOKS: dict[str, Callable[[Connection, Database], object]] = {
    "status": status,
    "timeline": lambda connection, _database: moments(connection, "A", TARGETS),
}


@pytest.mark.parametrize("look", [*LOOKS, "by cause"])
def test_a_look_at_one_student_or_one_cause_reads_no_table_whole(tmp_path: Path, look: str) -> None:
    database = Database(sqlite_store(tmp_path))
    student(database, "A", "completed", seen=everywhere(10), elapsed_s=10.0)
    with statements(database) as asked:
        if look in LOOKS:
            with database.read() as connection:
                LOOKS[look](connection, database)
        else:
            listed(site_of(database, TARGETS, None), SUPPORT, StudentsRequest(cause="identity_collision"))
    assert asked
    with database.read() as connection:
        plans = [
            str(step[-1])
            for text, values in asked
            if text.lstrip().upper().startswith(("SELECT", "WITH"))
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
        ]
    whole = rf"SCAN ({OF_EVERYBODY})\b|SEARCH ({OF_EVERYBODY})\b.*\(student_number>\?\)"
    assert [step for step in plans if re.match(whole, step)] == []
    database.close()
