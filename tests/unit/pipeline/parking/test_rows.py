"""The parking lot: one row each, no bell is forgotten, personal rows do not stand behind bulk ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from pipeline import parking
from pipeline.db.database import Database
from pipeline.eventlog.port import TopicPartition
from pipeline.parking import Kind, Parked, Share, repair
from pipeline.parking.parking_lot import ParkingLot
from pipeline.parking.rows import parked
from schemas.account import Lane
from sesame.testing.servers.database_kit import ONLY_POSTGRESQL, ONLY_SQLITE, START, meanwhile
from sesame.testing.servers.narrowing import present

ROW = Parked(
    student_number="A",
    kind=Kind.RETRY,
    version=1,
    bells=1,
    due_at=START + 60,
    attempts=2,
    first_at=START,
    age_s=5.0,
    counted_at=START,
    cause="target_busy",
    message="busy",
    lane=Lane.BULK,
    event_id="bell-1",
    replay=False,
)


def park(
    database: Database, row: Parked = ROW, *, seen: Parked | None = None, consumer: str = "moodle"
) -> None:
    with database.write() as connection:
        parking.park(connection, database, consumer, row, seen=seen)


def ring(
    database: Database, lot: Parked, version: int = 2, *, lane: Lane = Lane.BULK, replay: str | None = None
) -> Parked:
    with database.write() as connection:
        return parking.ring(connection, "moodle", lot, version=version, bells=1, lane=lane, replay=replay)


def row(database: Database, number: str = "A") -> Parked | None:
    with database.read() as connection:
        return parking.parked_of(connection, "moodle", [number]).get(number)


def unpark(database: Database, lot: Parked) -> bool:
    with database.write() as connection:
        return parking.unpark(connection, "moodle", "A", version=lot.version, bells=lot.bells)


def test_a_student_has_one_row_per_consumer(database: Database) -> None:
    park(database)
    park(database, replace(ROW, cause="timed_out"), seen=ROW)
    park(database, consumer="mailbox")
    assert row(database) == replace(ROW, cause="timed_out")
    with database.read() as connection:
        assert set(parking.all_parked_of(connection, "A")) == {"moodle", "mailbox"}
        assert parking.counts(connection) == {("moodle", Kind.RETRY): 1, ("mailbox", Kind.RETRY): 1}


def test_a_bell_raises_the_counter_and_never_lowers_the_version(database: Database) -> None:
    park(database, replace(ROW, version=5))
    rung = ring(database, replace(ROW, version=5), 3)
    assert (rung.version, rung.bells) == (5, 2)
    assert row(database) == rung


def test_a_row_goes_with_a_success_that_saw_all_that_rang(database: Database) -> None:
    park(database)
    assert unpark(database, ROW)
    assert row(database) is None
    assert not unpark(database, ROW)


def test_a_row_that_rang_since_the_turn_began_stays_and_is_due_at_once(database: Database) -> None:
    park(database)
    ring(database, ROW)
    assert not unpark(database, ROW)
    left = present(row(database))
    assert (left.due_at, left.version, left.attempts, left.age_s) == (0.0, 2, 0, 0.0)


def test_parking_again_does_not_swallow_what_rang_meanwhile(database: Database) -> None:
    park(database)
    ring(database, ROW, 7, lane=Lane.PERSONAL, replay="replay-1")
    park(database, replace(ROW, kind=Kind.WAITING, due_at=START + 900, attempts=0), seen=ROW)
    left = present(row(database))
    assert (left.kind, left.version, left.bells, left.due_at) == (Kind.WAITING, 7, 3, 0.0)
    assert (left.lane, left.replay, left.event_id) == (Lane.PERSONAL, True, "replay-1")


def test_a_row_that_appeared_during_the_turn_is_not_swallowed_either(database: Database) -> None:
    park(database, replace(ROW, kind=Kind.LEASED, version=2))
    park(database, replace(ROW, version=1), seen=None)
    left = present(row(database))
    assert (left.kind, left.version, left.due_at) == (Kind.RETRY, 2, 0.0)


def test_a_replay_is_kept_until_it_is_carried_out_and_other_bells_do_not_hide_it(database: Database) -> None:
    park(database)
    ring(database, ROW, 0, replay="replay-1")
    left = present(row(database))
    ring(database, left, 3)
    left = present(row(database))
    assert (left.replay, left.event_id, left.bells) == (True, "replay-1", 3)


def test_only_due_rows_come_personal_ones_first_the_longest_due_first(database: Database) -> None:
    for number, lane, due_at in (
        ("B1", Lane.BULK, START - 50),
        ("B2", Lane.BULK, START - 40),
        ("B3", Lane.BULK, START - 30),
        ("P1", Lane.PERSONAL, START - 1),
        ("P2", Lane.PERSONAL, START - 2),
        ("P3", Lane.PERSONAL, START + 1),
        ("P4", Lane.PERSONAL, None),
    ):
        park(database, replace(ROW, student_number=number, lane=lane, due_at=due_at))
    park(database, replace(ROW, student_number="X", due_at=START - 99), consumer="mailbox")
    with database.read() as connection:
        found = parking.due(connection, "moodle", START, limit=2)
    assert [each.student_number for each in found] == ["P2", "P1", "B1", "B2"]


@ONLY_SQLITE
def test_a_page_is_found_by_the_index_however_full_the_lot_is(database: Database) -> None:
    with database.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM parked WHERE consumer = 'moodle' AND lane = 'bulk'"
            " AND due_at <= 1 ORDER BY due_at LIMIT 200"
        ).all()
    steps = " ".join(str(step[-1]) for step in plan)
    assert "ix_parked_consumer_lane_due_at" in steps
    assert "TEMP B-TREE" not in steps  # no sorting either


def test_a_look_for_which_nobody_is_due_asks_once_and_says_when_to_look_again(database: Database) -> None:
    said: list[str] = []
    lot = ParkingLot("moodle", database, partitions=4, on_trouble=said.append)
    everybodys = [TopicPartition("sesame.accounts", number) for number in range(4)]
    lot.woken(0.0, everybodys)  # the first one mends, too
    park(database, replace(ROW, student_number="P", lane=Lane.PERSONAL, due_at=START + 0.5))
    park(database, replace(ROW, student_number="B", lane=Lane.BULK, due_at=START + 0.75))
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if "FROM parked" in statement:
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert lot.woken(10.0, everybodys) == []
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert len(asked) == 1
    assert lot.due_in(10.0) == pytest.approx(0.5)
    assert said == []


def test_one_who_rests_is_left_to_events_unless_one_rang_meanwhile(database: Database) -> None:
    park(database)
    ring(database, ROW)
    for seen, due in ((ROW, ["A"]), (replace(ROW, version=2, bells=2), [])):
        with database.write() as connection:
            parking.rest(connection, "moodle", seen)
        with database.read() as connection:
            found = parking.due(connection, "moodle", START * 2, limit=9)
        assert [each.student_number for each in found] == due


def test_hastening_only_brings_a_row_nearer(database: Database) -> None:
    with database.write() as connection:
        assert not parking.hasten(connection, "moodle", "A", START, now=START)
    park(database)
    for due_at, expected in ((START + 90, START + 60), (START + 1, START + 1)):
        with database.write() as connection:
            assert parking.hasten(connection, "moodle", "A", due_at, now=START)
        left = present(row(database))
        assert left.due_at == expected
    left = present(row(database))
    with database.write() as connection:
        parking.rest(connection, "moodle", left)
        assert parking.hasten(connection, "moodle", "A", START, now=START)
    left = present(row(database))
    assert (left.due_at, left.attempts) == (START, 2)
    assert not unpark(database, ROW)  # whoever works on it now does not take it away


def test_one_who_was_brought_nearer_waits_no_longer_should_the_clock_be_set_back(database: Database) -> None:
    park(database)  # due in 60 s
    with database.write() as connection:
        assert parking.hasten(connection, "moodle", "A", START + 41, now=START + 40)
    assert present(row(database)).age_at(START + 40) == ROW.age_at(START + 40)
    with database.write() as connection:
        assert repair.clock_went_back(connection, "moodle", START + 10) == (1, 30.0)
    assert present(row(database)).due_at == START + 11


def test_a_look_that_joins_a_retry_keeps_its_attempts_and_their_age(database: Database) -> None:
    """Another process met the lease while this one was failing: its row says no more than look again."""
    failed = replace(ROW, attempts=3, age_s=40.0, attempts_version=1, cause="timed_out")
    park(database, failed)
    looks = {"attempts": 0, "age_s": 0.0, "attempts_version": 0, "cause": "leased"}
    park(database, replace(ROW, kind=Kind.LEASED, version=2, event_id="bell-2", **looks))  # type: ignore[arg-type]
    assert row(database) == replace(failed, version=2, bells=2, due_at=0.0, event_id="bell-2")


@ONLY_POSTGRESQL
def test_two_who_park_one_student_at_once_lose_no_bell(database: Database) -> None:
    rung = replace(ROW, version=7, kind=Kind.LEASED)
    with database.write() as connection:
        parking.park(connection, database, "moodle", rung, seen=None)

        def park_too() -> None:
            with database.write() as other:
                parking.park(other, database, "moodle", ROW, seen=None)

        with meanwhile(park_too) as waiting:
            waiting.join(0.2)  # it waits for the row that is not committed yet
            connection.commit()
    with database.read() as connection:
        left = parking.parked_of(connection, "moodle", ["A"])["A"]
    assert (left.version, left.due_at) == (7, 0.0)


def test_a_removed_row_is_gone_whatever_rang(database: Database) -> None:
    park(database)
    ring(database, ROW)
    with database.write() as connection:
        parking.remove(connection, "moodle", "A", replays=[])
    assert row(database) is None


@settings(deadline=None)  # a database takes the time that it takes
@given(st.lists(st.sampled_from(["ring here", "ring elsewhere", "park", "success"]), max_size=15))
def test_no_bell_is_ever_forgotten(steps: list[str]) -> None:
    """A model of the row: whatever interleaves, a bell that no turn has seen leaves a row that is due."""
    database = Database("sqlite://")
    with database.write() as connection:
        parked.create(connection)
        seen: Parked | None = None
        unseen, version = 0, 1
        for step in steps:
            present = parking.parked_of(connection, "moodle", ["A"]).get("A")
            if step == "ring elsewhere":  # another process: the turn that is under way does not see it
                version += 1
                unseen += 1
                if present is None:
                    leased = replace(ROW, kind=Kind.LEASED, version=version)
                    parking.park(connection, database, "moodle", leased, seen=None)
                else:
                    parking.ring(
                        connection, "moodle", present, version=version, bells=1, lane=Lane.BULK, replay=None
                    )
            elif step == "ring here":  # a turn begins: it sees whatever has rung
                version += 1
                unseen = 0
                seen = present and parking.ring(
                    connection, "moodle", present, version=version, bells=1, lane=Lane.BULK, replay=None
                )
            elif step == "park":
                parking.park(
                    connection,
                    database,
                    "moodle",
                    replace(ROW, version=seen.version if seen else 1, bells=seen.bells if seen else 1),
                    seen=seen,
                )
                seen = parking.parked_of(connection, "moodle", ["A"])["A"] if not unseen else seen
            elif seen is not None:
                parking.unpark(connection, "moodle", "A", version=seen.version, bells=seen.bells)
            if unseen:
                left = parking.parked_of(connection, "moodle", ["A"])["A"]
                assert left.version == version
                if step in ("park", "success") and not (step == "success" and seen is None):
                    assert left.due_at == 0.0
    database.close()


def test_owners_share_the_due_rows_by_hash_and_between_them_miss_nobody(database: Database) -> None:
    numbers = [f"2200{number:04}" for number in range(40)]
    for number in numbers:
        park(database, replace(ROW, student_number=number, due_at=1.0))
    shares = [Share(frozenset(owned), of=4) for owned in ({0, 2}, {1}, {3})]
    with database.read() as connection:
        pages = [parking.due(connection, "moodle", 2.0, limit=100, share=share) for share in shares]
    fetched = [row.student_number for page in pages for row in page]
    assert sorted(fetched) == numbers
    assert all(pages)
    assert Share(frozenset(range(4)), of=4).whole


def test_the_next_moment_is_the_nearest_of_both_lanes_and_none_if_events_alone_wake(
    database: Database,
) -> None:
    with database.read() as connection:
        assert parking.next_due(connection, "moodle") is None
    park(database, replace(ROW, due_at=None))
    park(database, replace(ROW, student_number="B", due_at=START + 9))
    park(database, replace(ROW, student_number="C", due_at=START + 5, lane=Lane.PERSONAL))
    with database.read() as connection:
        assert parking.next_due(connection, "moodle") == START + 5
