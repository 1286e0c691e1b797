"""Times of completions, counted without persons: against quantiles that are counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from consumers.propagation import times
from consumers.propagation.times import ClosedWindow, propagation_times
from pipeline.db.database import Database
from schemas.account import Lane, Membership, Requirement, Stage
from schemas.events import TargetProvisioned
from sesame.operations.people.diagnosis import figures
from sesame.operations.people.diagnosis.figures import SpanFigures, Windows
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from tests.unit.consumers.propagation.propagation_kit import LEA, PropagationHarness, at

DAY_S = 86_400.0
NOW = datetime(2026, 9, 15, 12, 0, tzinfo=UTC).timestamp()


def cohort(key: str, *, met: bool = True) -> Membership:
    return Membership(key=key, name=key, requires=Requirement.PEDAGOGICAL, met=met)


def student(
    database: Database,
    number: str,
    *cohorts: Membership,
    activated_at: float = NOW - 400 * DAY_S,
    stage: Stage = Stage.ACTIVE,
) -> None:
    moment = datetime.fromtimestamp(activated_at, UTC)
    account = account_of(number, f"login.{number}", cohorts=cohorts, activated_at=moment, stage=stage)
    stores.keep(database, account, changed_at=activated_at)


def done(number: str, took_s: float, *, ended: float = NOW, lane: Lane = Lane.BULK) -> ClosedWindow:
    return ClosedWindow(number, lane, ended, ended - took_s, took_s, {"directory": took_s / 2})


def count(database: Database, *completions: ClosedWindow) -> None:
    with database.write() as connection:
        times.count(connection, database, completions)


def windows(database: Database, now: float = NOW + 1.0) -> Windows:
    with database.read() as connection:
        return figures.windows(connection, now)


def students(of: SpanFigures) -> int:
    return 0 if of.all is None else of.all.students


@pytest.mark.parametrize("took_s", [0.02, 0.7, 3.0, 59.0, 899.0, 3600.0, 90_000.0])
def test_quantiles_are_right_to_two_and_a_half_percent(database: Database, took_s: float) -> None:
    for place in range(100):
        student(database, f"{place}")
    count(database, *(done(f"{place}", took_s * (1 + place)) for place in range(100)))
    found = windows(database)["enrolment"]["day"]
    assert found.all is not None
    assert found.all.students == 100
    assert found.all.p50 == pytest.approx(50 * took_s, rel=0.025)
    assert found.all.p95 == pytest.approx(95 * took_s, rel=0.025)
    assert found.all.p99 == pytest.approx(99 * took_s, rel=0.025)
    assert found.targets["directory"].p50 == pytest.approx(25 * took_s, rel=0.025)


def test_what_opened_the_window_tells_activations_from_the_registrars_changes(database: Database) -> None:
    student(database, "A", activated_at=NOW - 4.0 - 1e-6)  # stored to the microsecond
    student(database, "B", activated_at=NOW - 4.0)
    student(database, "changed")
    student(database, "expired", stage=Stage.EXPIRED)
    student(database, "password")
    count(
        database,
        done("A", 4.0, lane=Lane.PERSONAL),
        done("B", 4.0),  # `activate --all`
        done("changed", 40.0),
        done("expired", 400.0),
        done("password", 400.0, lane=Lane.PERSONAL),
        done("nobody", 400.0),
    )
    found = windows(database)
    assert [students(found[start]["hour"]) for start in ("activation", "enrolment")] == [2, 1]
    assert found["activation"]["hour"].all is not None
    assert found["activation"]["hour"].all.p99 == pytest.approx(4.0, rel=0.025)


def test_each_span_has_what_was_completed_within_it(database: Database) -> None:
    student(database, "A")
    for place, ago in enumerate((60.0, 7200.0, 3 * DAY_S, 300 * DAY_S, 380 * DAY_S), start=1):
        count(database, done("A", 10.0 * place, ended=NOW - ago))
    by_span = windows(database)["enrolment"]
    assert {span: students(of) for span, of in by_span.items()} == {"hour": 1, "day": 2, "year": 4}


def test_days_past_become_their_months_counts_and_no_figure_changes(database: Database) -> None:
    for number in ("A", "B"):
        student(database, number)
    for ago in (0.0, 600.0, 26 * 3600.0, 26 * 3600.0 + 600.0, 20 * DAY_S, 21 * DAY_S):
        count(database, done("A", 5.0, ended=NOW - ago), done("B", 5.0, ended=NOW - ago))
    before = windows(database)
    for _ in range(2):
        with database.write() as connection:
            times.fold(connection, database, NOW)
    assert windows(database) == before
    with database.read() as connection:
        begins = sorted(set(connection.scalars(select(propagation_times.c.begins))))
    august, september = (datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (8, 9))
    assert begins == [august, september, NOW - 600.0, NOW]


def test_a_month_that_has_counts_gets_those_of_a_later_day_too(database: Database) -> None:
    student(database, "A")
    for ago in (3 * DAY_S, 2 * DAY_S):
        count(database, done("A", 5.0, ended=NOW - ago))
        with database.write() as connection:
            times.fold(connection, database, NOW)
    assert students(windows(database)["enrolment"]["year"]) == 2


def test_a_cohort_of_fewer_than_ten_is_in_no_figure(database: Database) -> None:
    for place in range(10):
        rare = [cohort("rare")] if place else []
        pending = [cohort("pending", met=False)]
        student(database, f"{place}", cohort("L1INFO-2026"), *rare, *pending)
    count(database, *(done(f"{place}", 3.0) for place in range(10)))
    for of in windows(database)["enrolment"].values():
        assert {name: each.students for name, each in of.cohorts.items()} == {"L1INFO-2026": 10}


def test_a_completion_is_counted_once_whatever_comes_again(desk: PropagationHarness) -> None:
    desk.account()
    bell = desk.bell()
    last = [desk.outcome(TargetProvisioned, name, 8.0) for name in ("directory", "mailbox", "moodle")][-1]
    desk.redeliver(bell)
    desk.redeliver(last)
    found = windows(desk.database, at(60.0).timestamp())["activation"]["hour"]
    assert found.all is not None
    assert found.all.students == 1
    assert {name: each.students for name, each in found.targets.items()} == dict.fromkeys(
        ("directory", "mailbox", "moodle"), 1
    )


def test_a_damaged_account_is_counted_without_its_cohorts(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "directory", 1.0)
    with desk.database.write() as connection:
        connection.execute(
            text("UPDATE accounts SET document = 'no JSON' WHERE student_number = :n"), {"n": LEA}
        )
    for name in ("mailbox", "moodle"):
        desk.outcome(TargetProvisioned, name, 2.0)
    assert students(windows(desk.database, at(60.0).timestamp())["activation"]["hour"]) == 1


def test_nothing_of_a_person_is_kept(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.all_done(3.0)
    with desk.database.read() as connection:
        rows = [tuple(row) for row in connection.execute(select(propagation_times))]
    assert len(rows) == 4
    assert LEA not in str(rows)


def test_old_months_are_removed(database: Database) -> None:
    student(database, "A")
    count(database, done("A", 5.0, ended=NOW - 10 * DAY_S), done("A", 5.0))
    with database.write() as connection:
        assert times.prune(connection, NOW - DAY_S) == 2
    assert students(windows(database)["enrolment"]["year"]) == 1
