"""A day as a table, read back by other libraries: against counts and quantiles that are made by hand."""

from __future__ import annotations

import builtins
import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from consumers.propagation.settings import PropagationSettings
from pipeline.db.database import Database
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.errors import NotInstalled
from sesame.acts.acts import Actor, Role
from sesame.operations.keeping.daily_export import DayExportRequest, DayNotOver, export_day
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import TARGETS, done, join, student

DAY = date(2026, 8, 31)  # START is at eight in the morning, ten in Paris
NEXT_DAY = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
HOUR_S = 3600.0


def exported(database: Database, form: str = "csv", *, now: datetime = NEXT_DAY, day: date = DAY) -> bytes:
    settings = SimpleNamespace(
        targets=TARGETS,
        propagation=PropagationSettings(late_s=900.0, breach_s=3600.0),
        portal=SimpleNamespace(timezone="Europe/Paris"),
    )
    site: Any = SimpleNamespace(database=database, settings=settings)
    asked = DayExportRequest.model_validate({"day": day, "form": form})
    return export_day(site, Actor("dashboard", frozenset({Role.VIEWER})), asked, lambda: now)


def table(database: Database, **where: str) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(exported(database).decode(), newline=""))
    return [row for row in rows if where.items() <= row.items()]


def short(rows: Sequence[dict[str, str]], *names: str) -> list[tuple[str, ...]]:
    return sorted(tuple(row[name] for name in names) for row in rows)


def letter(database: Database, at: float, cause: str, resolved_at: float | None = None) -> None:
    with database.write() as connection:
        made = DeadLetter(f"{cause}{at}", "moodle", "22600001", 1, cause, "", 1, at, resolved_at=resolved_at)
        assert dead_letters.add(connection, database, made)


def test_the_day_begins_and_ends_where_the_university_is(database: Database) -> None:
    for number, hours in (("before", -10.1), ("first", -9.9), ("last", 13.9), ("after", 14.1)):
        done(database, number, 60.0, completed_at=START + hours * HOUR_S)
    assert short(table(database, cohort="all", target="all"), "day", "kind", "lane", "students") == [
        ("2026-08-31", "completed", "personal", "2")
    ]


def test_times_are_quantiles_and_who_was_longer_than_the_objectives_is_counted(database: Database) -> None:
    for place in range(1, 101):
        done(database, f"{place:03d}", place * 10.0)
    done(database, "late", 3601.0)
    done(database, "batch", 5000.0, lane="bulk")
    [row] = table(database, target="all", cohort="all", lane="personal")
    assert row == {
        "day": "2026-08-31",
        "kind": "completed",
        "target": "all",
        "cohort": "all",
        "lane": "personal",
        "reason": "",
        "students": "101",
        "p50_s": "510.0",
        "p95_s": "960.0",
        "p99_s": "1000.0",
        "late": "11",
        "breached": "1",
    }
    assert short(table(database, lane="bulk", target="all"), "students", "p50_s") == [("1", "5000.0")]


def test_cohorts_of_few_are_together_and_too_few_are_nowhere_by_themselves(database: Database) -> None:
    for place in range(10):
        done(database, f"a{place}", 10.0)
        join(database, f"a{place}", "L1INFO-2026", *(["rare"] if place == 0 else []))
    for place in range(9):
        done(database, f"b{place}", 20.0)
        join(database, f"b{place}", "M1INFO-2026")
    assert short(table(database, target="all"), "cohort", "students") == [
        ("L1INFO-2026", "10"),
        ("all", "19"),
    ]
    done(database, "alone", 20.0)
    assert short(table(database, target="all"), "cohort", "students") == [
        ("L1INFO-2026", "10"),
        ("all", "20"),
        ("other", "10"),
    ]


def test_a_target_that_few_of_a_cohort_have_reached_says_nothing_of_it(database: Database) -> None:
    for place in range(10):
        seen = {"directory": ("provisioned", 5.0)} | ({} if place else {"moodle": ("provisioned", 8.0)})
        done(database, f"{place}", 10.0, seen=seen)
        join(database, f"{place}", "L1INFO-2026")
    found = short(table(database), "cohort", "target", "students")
    assert found == [
        ("L1INFO-2026", "all", "10"),
        ("L1INFO-2026", "directory", "10"),
        ("all", "all", "10"),
        ("all", "directory", "10"),
        ("all", "moodle", "1"),
    ]


def test_edges_waiting_and_dead_letters_are_counted_by_reason(database: Database) -> None:
    student(database, "slow", "in_progress", late_at=START, breached_at=START + 14 * HOUR_S + 1)
    letter(database, START, "collision")
    letter(database, START + 5, "collision", resolved_at=START + 6)
    letter(database, START - 11 * HOUR_S, "collision")
    rows = [row for row in table(database) if row["kind"] != "completed"]
    assert short(rows, "kind", "target", "reason", "students") == [
        ("dead_letters", "moodle", "collision", "2"),
        ("late", "all", "", "1"),
    ]


def test_parquet_has_the_same_with_types_of_its_own(database: Database) -> None:
    for place in range(12):
        done(database, f"226000{place:02d}", 10.0 + place)
        join(database, f"226000{place:02d}", "L1INFO-2026")
    read = parquet.read_table(pa.BufferReader(exported(database, "parquet")))
    assert [str(field.type) for field in read.schema] == [
        *("date32[day]", "string", "string", "string", "string", "string", "int64"),
        *("double", "double", "double", "int64", "int64"),
    ]
    rows = [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in read.to_pylist()
    ]
    assert rows == table(database) != []


def test_a_day_on_which_nothing_happened_is_an_empty_table(database: Database) -> None:
    assert table(database) == []
    assert parquet.read_table(pa.BufferReader(exported(database, "parquet"))).num_rows == 0


def test_nobody_is_named(database: Database) -> None:
    for place in range(12):
        done(database, f"226000{place:02d}", 10.0)
    assert "2260" not in json.dumps(table(database))


@pytest.mark.parametrize("hour", [0, 21])
def test_a_day_that_goes_on_is_not_exported(database: Database, hour: int) -> None:
    with pytest.raises(DayNotOver, match="2026-08-31 is not over"):
        exported(database, now=datetime(2026, 8, 31, hour, 59, tzinfo=UTC))
    assert exported(database, now=datetime(2026, 8, 31, 22, 1, tzinfo=UTC))


def test_without_duckdb_it_is_said_what_to_install(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "duckdb":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(NotInstalled) as met:
        exported(database, "parquet")
    assert "pip install 'duckdb>=" in met.value.remedy
