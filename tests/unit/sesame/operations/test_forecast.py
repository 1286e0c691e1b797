"""The forecast: against times that are counted by hand, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from consumers.propagation.rows import propagation
from pipeline import status, throughput
from pipeline.db.database import Database
from pipeline.status import ConsumerStatus
from pipeline.throughput import Stretch
from schemas.account import Lane
from sesame.acts.acts import Actor, ActRefused, Role
from sesame.operations.work.forecast import promises
from sesame.operations.work.forecast.acts import (
    ForecastRequest,
    ForecastUnfit,
    keep_promise,
    show,
    show_coming,
)
from sesame.operations.work.forecast.history import TargetHistory, histories
from sesame.operations.work.forecast.places import places
from sesame.operations.work.forecast.report import Forecast, ForecastChange
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.population_kit import LONG_AGO, OPERATOR, TARGETS, rush, site_of, stretch, student

HALTED = ("paused", "quarantined", "misconfigured")


def site(database: Database, follows: dict[str, str] | None = None) -> Any:
    made = site_of(database, TARGETS, follows)
    made.settings.engine = SimpleNamespace(slots=4)
    return made


def work(
    database: Database, target: str, process: str = "host:1", state: str = "running", reason: str = ""
) -> None:
    """A process that works at a target."""
    with database.write() as connection:
        now = database.now(connection)
        status.report(connection, database, ConsumerStatus(target, process, state, reason, now, now))


def queue(database: Database, students: int, **more: Any) -> None:
    for number in range(students):
        student(database, f"{number:03d}", "in_progress", **more)


def known(database: Database) -> None:
    """The directory takes 20 students a second, Moodle 2."""
    for target, per_s in (("directory", 20.0), ("moodle", 2.0)):
        work(database, target)
        rush(database, target, per_s)


def busy(database: Database, *, students: int = 60) -> None:
    """A queue; see `known`."""
    known(database)
    queue(database, students)


def seconds(found: Forecast, at: datetime | None) -> float:
    assert at is not None
    return (at - found.at).total_seconds()


# --- the end ----------------------------------------------------------------------------------------------


def test_a_queue_ends_when_its_slowest_target_has_taken_all(database: Database) -> None:
    busy(database)
    found = show(site(database), OPERATOR)
    assert (found.students, found.brake, found.cause) == (60, "moodle", None)
    assert 27 < seconds(found, found.done_at) < 33
    assert 20 < seconds(found, found.low) < seconds(found, found.done_at) < seconds(found, found.high) < 60
    assert {name: one.rate for name, one in found.targets.items()} == {"directory": 20.0, "moodle": 2.0}
    assert 2 < seconds(found, found.targets["directory"].done_at) < 4


def test_two_workers_halve_it_and_so_one_more_is_told_as_a_help(database: Database) -> None:
    busy(database)
    before = show(site(database), OPERATOR)
    [more, two_more] = before.what_if
    assert (more.target, more.change) == ("moodle", ForecastChange.WORKER)
    assert 13 < seconds(before, more.done_at) < 18
    assert (two_more.target, two_more.change) == ("moodle", ForecastChange.WORKERS)
    assert 9 < two_more.longest_wait_s < 12
    work(database, "moodle", "host:1#2")
    found = show(site(database), OPERATOR)
    assert found.targets["moodle"].rate == 4.0
    assert 13 < seconds(found, found.done_at) < 18


def test_nobody_under_way_is_done_now_whatever_is_known(database: Database) -> None:
    for target in TARGETS:
        work(database, target)
    student(database, "A", "completed", seen=dict.fromkeys(TARGETS, ("provisioned", 5.0)), elapsed_s=5.0)
    found = show(site(database), OPERATOR)
    assert (found.done_at, found.low, found.high) == (found.at, found.at, found.at)
    assert (found.brake, found.cause, found.students) == (None, None, 0)
    assert found.targets["moodle"].rate is None


def test_who_follows_another_target_is_not_done_before_it(database: Database) -> None:
    for target, per_s in (("directory", 2.0), ("moodle", 20.0)):
        work(database, target)
        rush(database, target, per_s)
    queue(database, 60)
    found = show(site(database, {"moodle": "directory"}), OPERATOR)
    assert seconds(found, found.targets["moodle"].done_at) >= 27
    assert found.brake == "directory", "a worker more at the one that only follows would help nobody"


def test_todays_rush_decides_and_not_last_years(database: Database) -> None:
    busy(database)
    with database.read() as connection:
        now = database.now(connection)
    rush(database, "moodle", 4.0, ends=now - 6.0)
    found = show(site(database), OPERATOR)
    assert found.targets["moodle"].rate == 4.0
    assert 13 < seconds(found, found.done_at) < 18


def test_another_kind_of_work_an_hour_ago_does_not_decide_for_todays_rush(database: Database) -> None:
    """Welcomes at one a second until two minutes ago, and since then changes at four."""
    busy(database)
    with database.read() as connection:
        now = database.now(connection)
    rush(database, "moodle", 1.0, ends=now - 120.0)
    rush(database, "moodle", 4.0, ends=now - 3.0, rows=6)
    assert show(site(database), OPERATOR).targets["moodle"].rate == 4.0


def test_what_was_done_without_a_queue_counts_by_its_calls(database: Database) -> None:
    """Three calls at once, of 9 s in all, for 60 students: 20 a second."""
    work(database, "moodle")
    work(database, "directory")
    rush(database, "directory", 20.0)
    with database.write() as connection:
        for row in range(4):
            one = stretch("moodle", LONG_AGO + 6.0 * row, 60, queued=False, call_s=9.0)
            throughput.record(connection, database, one)
    queue(database, 60)
    assert show(site(database), OPERATOR).targets["moodle"].rate == 20.0


# --- what cannot be told ----------------------------------------------------------------------------------


def unknown(database: Database, why: str) -> None:
    found = show(site(database), OPERATOR)
    assert (found.done_at, found.low, found.high, found.brake) == (None, None, None, None)
    assert found.cause is not None
    assert found.cause.startswith("moodle: ")
    assert why in found.cause
    assert found.targets["moodle"].done_at is None
    assert found.targets["directory"].done_at is not None, "what is known of the others is told"


def known_directory(database: Database) -> None:
    work(database, "directory")
    rush(database, "directory", 20.0)
    queue(database, 60)


def test_without_history_it_says_so(database: Database) -> None:
    known_directory(database)
    work(database, "moodle")
    unknown(database, "never been measured")


def test_of_a_target_that_never_answered_it_says_so(database: Database) -> None:
    known_directory(database)
    work(database, "moodle")
    with database.write() as connection:
        for row in range(20):
            throughput.record(connection, database, stretch("moodle", LONG_AGO + 6.0 * row, 0, down_s=6.0))
    unknown(database, "never answered")


def test_two_years_that_contradict_each_other_have_no_mean(database: Database) -> None:
    known_directory(database)
    work(database, "moodle")
    rush(database, "moodle", 2.0, ends=LONG_AGO - 365 * 86_400.0)
    rush(database, "moodle", 9.0)
    unknown(database, "2 students/s on")


@pytest.mark.parametrize("state", HALTED)
def test_who_is_halted_ends_by_somebodys_act_alone(database: Database, state: str) -> None:
    busy(database)
    work(database, "moodle", state=state, reason="somebody must act")
    unknown(database, "somebody must act")


def test_a_second_worker_that_goes_on_is_enough(database: Database) -> None:
    busy(database)
    work(database, "moodle", "host:2", state="hanging", reason="calls have not come back")
    assert show(site(database), OPERATOR).targets["moodle"].rate == 2.0


def test_nightly_files_do_not_contradict_a_rentree(database: Database) -> None:
    busy(database)
    rush(database, "moodle", 2.0, ends=LONG_AGO - 86_400.0, rows=400)
    for night in range(1, 4):
        rush(database, "moodle", 40.0, ends=LONG_AGO + night * 86_400.0, rows=1)
    assert show(site(database), OPERATOR).targets["moodle"].rate == 2.0


def test_a_target_that_was_throttled_and_took_nobody_has_no_quota_to_tell(database: Database) -> None:
    busy(database)
    with database.write() as connection:
        for row in range(5):
            at = LONG_AGO + 6.0 * (row + 1)
            throughput.record(connection, database, stretch("moodle", at, 0, throttled_s=6.0))
    found = show(site(database), OPERATOR)
    assert 20 < seconds(found, found.done_at) < 45


def test_who_follows_a_follower_is_the_last(database: Database) -> None:
    for target, per_s in (("directory", 20.0), ("moodle", 2.0)):
        work(database, target)
        rush(database, target, per_s)
    work(database, "portfolio")
    rush(database, "portfolio", 50.0)
    queue(database, 60)
    chain = {"portfolio": "moodle", "moodle": "directory"}
    made = site_of(database, ("portfolio", "moodle", "directory"), chain)
    made.settings.engine = SimpleNamespace(slots=4)
    found = show(made, OPERATOR)
    assert seconds(found, found.targets["portfolio"].done_at) >= 27
    assert found.brake == "moodle"


def test_a_consumer_that_runs_nowhere_is_the_cause(database: Database) -> None:
    known_directory(database)
    rush(database, "moodle", 2.0)
    unknown(database, "no process runs it")


def test_a_first_outage_has_no_end_that_could_be_told(database: Database) -> None:
    busy(database)
    work(database, "moodle", state="open", reason="connection refused")
    unknown(database, "no outage of it has been measured")


def test_an_outage_lasts_as_outages_lasted(database: Database) -> None:
    busy(database)
    with database.write() as connection:  # one of 60 s, a day later, with work before and after it
        for row in range(16):
            down_s, students = (6.0, 0) if 3 <= row < 13 else (0.0, 12)
            at = LONG_AGO + 86_400.0 + 6.0 * row
            throughput.record(connection, database, stretch("moodle", at, students, down_s=down_s))
    up = show(site(database), OPERATOR)
    work(database, "moodle", state="open", reason="connection refused")
    down = show(site(database), OPERATOR)
    assert 20 < seconds(down, down.done_at) - seconds(up, up.done_at) < 90
    assert seconds(down, down.high) > seconds(up, up.high) + 60


# --- one machine ------------------------------------------------------------------------------------------

ONE: dict[str, Any] = {"process": "host:1"}


def beside(database: Database, per_s: dict[str, float], *, ends: float, **more: Any) -> None:
    for target, rate in per_s.items():
        rush(database, target, rate, ends=ends, **more)


def test_targets_that_share_a_machine_go_faster_when_the_others_are_done(database: Database) -> None:
    """Side by side the directory takes 4 a second and Moodle 2; alone Moodle takes 4.

    Of 60 for each the directory is done after 15 s, and Moodle has 30 left, which take 7.5 s; at the rate
    that was measured beside the directory it would be 30 s.
    """
    for target in TARGETS:
        work(database, target)
    beside(database, {"directory": 4.0, "moodle": 2.0}, ends=LONG_AGO, **ONE)
    rush(database, "moodle", 4.0, ends=LONG_AGO + 126.0, **ONE)
    queue(database, 60)
    found = show(site(database), OPERATOR)
    assert {name: one.rate for name, one in found.targets.items()} == {
        "directory": pytest.approx(4.0, rel=0.1),
        "moodle": pytest.approx(2.0, rel=0.1),
    }
    assert 20 < seconds(found, found.done_at) < 25
    assert found.brake == "moodle"


def test_targets_that_were_not_slower_side_by_side_are_taken_as_apart(database: Database) -> None:
    for target in TARGETS:
        work(database, target)
    beside(database, {"directory": 4.0, "moodle": 2.0}, ends=LONG_AGO, **ONE)
    rush(database, "moodle", 2.0, ends=LONG_AGO + 126.0, **ONE)
    queue(database, 60)
    found = show(site(database), OPERATOR)
    assert 27 < seconds(found, found.done_at) < 33


def test_a_rush_that_became_much_faster_is_judged_by_its_latest_part(database: Database) -> None:
    """Two minutes at 1 a second, and two at 4: of 60 all are done after 15 s, not after 24."""
    with database.read() as connection:
        now = database.now(connection)
    work(database, "moodle")
    rush(database, "moodle", 1.0, ends=now - 126.0)
    rush(database, "moodle", 4.0, ends=now - 6.0)
    queue(database, 60, seen={"directory": ("provisioned", 1.0)})
    found = show(site(database), OPERATOR)
    assert found.targets["moodle"].rate == pytest.approx(4.0, rel=0.1)
    assert 12 < seconds(found, found.targets["moodle"].done_at) < 19


def test_the_first_seconds_of_a_first_rush_tell_nothing(database: Database) -> None:
    with database.read() as connection:
        now = database.now(connection)
    work(database, "moodle")
    rush(database, "moodle", 0.2, ends=now - 1.0, rows=3)
    queue(database, 30, seen={"directory": ("provisioned", 1.0)})
    found = show(site(database), OPERATOR)
    assert found.done_at is None
    assert "moodle: it has never been measured with work waiting" in (found.cause or "")


def test_before_it_was_seen_one_process_is_taken_as_shared_and_the_interval_is_wider(
    database: Database,
) -> None:
    for target in TARGETS:
        work(database, target)
    beside(database, {"directory": 4.0, "moodle": 2.0}, ends=LONG_AGO, **ONE)
    queue(database, 60)
    found = show(site(database), OPERATOR)
    assert 22 < seconds(found, found.done_at) < 27
    assert seconds(found, found.high) - seconds(found, found.low) > 5


# --- what was measured ------------------------------------------------------------------------------------


def measured(rows: list[Stretch]) -> TargetHistory:
    return histories({"moodle": rows}, 3)["moodle"]


def test_an_outage_that_two_workers_saw_is_one(database: Database) -> None:
    """Two outages, of 12 and 9 s; the second worker's rows are later."""
    rows = []
    for row, down_s in enumerate((0, 6, 6, 0, 0, 0, 0, 0, 6, 3, 0)):
        for process, late_s in (("host:1", 0.0), ("host:2", 2.0)):
            at = START + 6.0 * row + late_s
            rows.append(stretch("moodle", at, 0 if down_s else 60, process=process, down_s=float(down_s)))
    [found] = measured(sorted(rows, key=lambda row: row.until)).rushes
    assert found.outages == [12.0, 9.0]
    assert found.rate == pytest.approx(7 * 60 / (7 * 6.0 + 3.0), rel=0.01), "per worker, while it took work"


def test_an_outage_that_has_not_ended_tells_no_length() -> None:
    rows = [stretch("moodle", START + 6.0 * row, 0, down_s=6.0 if row > 3 else 0.0) for row in range(8)]
    [found] = measured(rows).rushes
    assert found.outages == []


def test_two_rushes_are_two_and_a_short_pause_is_none() -> None:
    times = [0.0, 6.0, 12.0, 70.0, 76.0, 176.0, 182.0]
    rows = [stretch("moodle", START + at, 60) for at in times]
    assert [round(each.ended - START) for each in measured(rows).rushes] == [76, 182]


def test_a_quota_binds_after_its_burst(database: Database) -> None:
    """20 a second for a minute, then 5 a second: 1,200 at once, and then the quota."""
    work(database, "moodle")
    work(database, "directory")
    rush(database, "directory", 50.0)
    with database.write() as connection:
        for row in range(40):
            bound = row >= 10
            at = LONG_AGO + 6.0 * row
            students, throttled_s = (30, 4.0) if bound else (120, 0.0)
            throughput.record(connection, database, stretch("moodle", at, students, throttled_s=throttled_s))
    queue(database, 300)
    within = show(site(database), OPERATOR)
    assert 12 < seconds(within, within.done_at) < 20, "300 are within the burst"
    site_now = site(database)
    with database.read() as connection:
        began = database.now(connection)
    with database.write() as connection:
        for row in range(20):
            at = began - 6.0 * (20 - row)
            throughput.record(connection, database, stretch("moodle", at, 30, throttled_s=4.0))
    bound_now = show(site_now, OPERATOR)
    assert 54 < seconds(bound_now, bound_now.done_at) < 68, "300 at 5 a second"
    changes = [each.change for each in bound_now.what_if]
    assert changes == [ForecastChange.QUOTA], "a worker more would only wait too"
    assert 27 < seconds(bound_now, bound_now.what_if[0].done_at) < 34


def test_a_longer_batch_helps_by_what_a_call_costs_alone(database: Database) -> None:
    """A call takes 3 s, and 0.01 s a student: twice as many take hardly longer."""
    work(database, "moodle")
    work(database, "directory")
    rush(database, "directory", 50.0)
    with database.write() as connection:
        for row in range(30):
            size = 10 + 10 * (row % 2)
            calls = 6
            one = stretch(
                "moodle",
                LONG_AGO + 6.0 * row,
                size * calls,
                calls=calls,
                called=size * calls,
                call_s=calls * (3.0 + 0.01 * size),
            )
            throughput.record(connection, database, one)
    queue(database, 200)
    found = show(site(database), OPERATOR)
    assert {each.change for each in found.what_if} == set(ForecastChange) - {ForecastChange.QUOTA}
    batch = next(each for each in found.what_if if each.change is ForecastChange.BATCH)
    now_s, then_s = 3.0 + 0.01 * 15, 3.0 + 0.01 * 30
    wanted = seconds(found, found.done_at) * then_s / (2 * now_s)
    assert seconds(found, batch.done_at) == pytest.approx(wanted, rel=0.1)


# --- times to come ----------------------------------------------------------------------------------------


def coming(site_: Any, request: ForecastRequest, actor: Actor = OPERATOR, *, now: float = START) -> Forecast:
    return show_coming(site_, actor, request, clock=lambda: datetime.fromtimestamp(now, UTC))


def test_a_queue_is_shorter_when_the_work_begins_later(database: Database) -> None:
    busy(database)
    with database.read() as connection:
        now = database.now(connection)
    later = datetime.fromtimestamp(now + 20.0, UTC)
    found = coming(site(database), ForecastRequest(at=later.timestamp()), now=now)
    assert found.at == later
    assert found.students == 20, "60 less 40 at two a second"
    far = coming(site(database), ForecastRequest(at=(later + timedelta(hours=1)).timestamp()), now=now)
    assert (far.students, far.done_at) == (0, far.at)


def test_who_is_halted_now_is_not_tomorrow(database: Database) -> None:
    busy(database)
    work(database, "moodle", state="paused", reason="somebody must act")
    with database.read() as connection:
        now = database.now(connection)
    found = coming(site(database), ForecastRequest(at=now + 86_400.0), now=now)
    assert (found.cause, found.students) == (None, 0)


def test_a_time_that_is_past_is_refused(database: Database) -> None:
    with pytest.raises(ForecastUnfit, match="is past"):
        coming(site(database), ForecastRequest(at=START - 1.0))


def test_a_viewer_sees_the_forecast_and_may_not_read_files(database: Database, tmp_path: Path) -> None:
    viewer = Actor("ana", frozenset({Role.VIEWER}))
    assert show(site(database), viewer).students == 0
    with pytest.raises(ActRefused):
        coming(site(database), ForecastRequest(file=tmp_path / "f.csv"), viewer)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("promises", "places"):
        monkeypatch.setattr(f"sesame.operations.work.forecast.{name}.STUDENTS_MIN", 3)


# --- one student's place ----------------------------------------------------------------------------------


def opened(database: Database, number: str, after_s: float) -> None:
    with database.write() as connection:
        mine = propagation.c.student_number == number
        connection.execute(update(propagation).where(mine).values(opened_at=START + after_s))


@pytest.mark.usefixtures("few")
def test_the_last_of_the_queue_is_told_what_everybody_is_told(database: Database) -> None:
    busy(database, students=0)
    queue(database, 60)
    for number in range(60):
        opened(database, f"{number:03d}", float(number))
    found = places(site(database))
    assert found is not None
    last = found.done_at("moodle", Lane.PERSONAL, START + 59.0)
    assert last == found.found.targets["moodle"].done_at
    middle = found.done_at("moodle", Lane.PERSONAL, START + 29.0)
    assert middle is not None
    assert seconds(found.found, middle) == pytest.approx(seconds(found.found, last) / 2, rel=0.02)


@pytest.mark.usefixtures("few")
def test_a_person_is_told_an_earlier_time_than_a_batch(database: Database) -> None:
    busy(database, students=0)
    queue(database, 60, lane="bulk")
    student(database, "P", "in_progress")
    opened(database, "P", 500.0)  # the last to come
    found = places(site(database))
    assert found is not None
    person = found.done_at("moodle", Lane.PERSONAL, START + 500.0)
    batch = found.done_at("moodle", Lane.BULK, START)
    assert person is not None
    assert batch is not None
    assert seconds(found.found, person) < 1.5
    assert batch == found.found.targets["moodle"].done_at, "the person is before it"


@pytest.mark.usefixtures("few")
def test_where_nothing_can_be_told_no_student_is_told_a_time(database: Database) -> None:
    known_directory(database)
    work(database, "moodle")
    found = places(site(database))
    assert found is not None
    assert found.done_at("moodle", Lane.PERSONAL, START) is None
    assert found.done_at("elsewhere", Lane.PERSONAL, START) is None


def test_few_need_no_clock(database: Database) -> None:
    busy(database)
    assert places(site(database)) is None


# --- promises ---------------------------------------------------------------------------------------------


def finish(database: Database, number: str, at: float) -> None:
    with database.write() as connection:
        mine = propagation.c.student_number == number
        values = {"state": "completed", "completed_at": at}
        connection.execute(update(propagation).where(mine).values(**values))


def kept(database: Database) -> list[promises.Promise]:
    with database.read() as connection:
        return promises.latest(connection)


@pytest.mark.usefixtures("few")
def test_a_promise_is_kept_once_an_hour_and_told_beside_what_happened(database: Database) -> None:
    busy(database, students=4)
    keep_promise(site(database))
    keep_promise(site(database))
    [promise] = kept(database)
    assert (promise.students, promise.brake, promise.happened_at) == (4, "moodle", None)
    at = promise.made_at.timestamp()
    student(database, "later", "in_progress")
    opened(database, "later", at - START + 10.0)
    for number in range(3):
        finish(database, f"{number:03d}", at + 20.0 + number)
    keep_promise(site(database))
    assert kept(database)[0].happened_at is None, "one is not done who was under way then"
    finish(database, "003", at + 40.0)
    keep_promise(site(database))
    [promise] = kept(database)
    assert promise.happened_at == datetime.fromtimestamp(at + 40.0, UTC), "who came later does not count"
    assert show(site(database), OPERATOR).promises == (promise,)


def test_few_are_no_rush_and_nothing_is_promised_that_cannot_be_told(database: Database) -> None:
    busy(database, students=4)
    keep_promise(site(database))
    assert kept(database) == []


@pytest.mark.usefixtures("few")
def test_nothing_is_promised_that_cannot_be_told(database: Database) -> None:
    known_directory(database)
    keep_promise(site(database))
    assert kept(database) == []
