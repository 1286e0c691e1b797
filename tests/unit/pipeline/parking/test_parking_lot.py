"""A worker's view of the parking lot: how often it looks, whom it wakes, and what it puts right."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import update

from pipeline import parking
from pipeline.engine.bell import Bell
from pipeline.eventlog.port import OffsetOutOfRange, TopicPartition
from pipeline.parking import Kind, Parked
from pipeline.parking.parking_lot import (
    LOOK_EVERY_S,
    LOOK_IDLE_S_MAX,
    MEND_EVERY_S,
    ROWS_PER_PAGE,
    ParkingLot,
)
from pipeline.parking.rows import parked
from schemas.account import Lane
from sesame.testing.servers.database_kit import Clock
from sesame.testing.servers.pipeline_kit import Plant

OWNED = frozenset({0, 1})


@dataclass
class ParkingLotHarness:
    """A lot that is looked at; the engine's time is not the database's."""

    plant: Plant
    clock: Clock
    now: float = 50.0
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lot = ParkingLot("directory", self.plant.database, partitions=2, on_trouble=self.troubles.append)

    def park(self, number: str, due_s: float | None, lane: Lane = Lane.PERSONAL, version: int = 3) -> None:
        """Somebody who is due in so many seconds."""
        due_at = None if due_s is None else self.clock.now + due_s
        row = Parked(
            number,
            Kind.RETRY,
            version,
            1,
            due_at,
            1,
            0.0,
            0.0,
            self.clock.now,
            "",
            "",
            lane,
            "e",
            replay=True,
        )
        with self.plant.database.write() as connection:
            parking.park(connection, self.plant.database, "directory", row, seen=None)

    def edit(self, number: str, **values: object) -> None:
        """As an operator by SQL."""
        with self.plant.database.write() as connection:
            connection.execute(update(parked).where(parked.c.student_number == number).values(**values))

    def look(self, after_s: float, owned: frozenset[int] = OWNED) -> list[str]:
        """Whom the lot wakes so much later."""
        return [bell.student_number for bell in self.bells(after_s, owned)]

    def bells(self, after_s: float, owned: frozenset[int] = OWNED) -> list[Bell]:
        self.now += after_s
        self.clock.now += after_s
        return self.lot.woken(self.now, [TopicPartition("sesame.accounts", number) for number in owned])


@pytest.fixture
def desk(plant: Plant, clock: Clock) -> ParkingLotHarness:
    return ParkingLotHarness(plant, clock)


def test_one_who_is_due_rings_with_what_was_parked(desk: ParkingLotHarness) -> None:
    desk.park("A", 0.0, Lane.BULK)
    assert desk.bells(0.0) == [Bell("A", 3, Lane.BULK, "e", replay=True, place=None)]


@pytest.mark.parametrize(
    ("due_s", "next_s"),
    [
        (0.0, LOOK_EVERY_S),  # there may be more of them
        (0.1, LOOK_EVERY_S),
        (0.6, 0.6),
        (5.0, LOOK_IDLE_S_MAX),
        (None, LOOK_IDLE_S_MAX),  # other processes may park somebody
    ],
)
def test_the_next_look_is_when_somebody_is_due_within_bounds(
    desk: ParkingLotHarness, due_s: float | None, next_s: float
) -> None:
    desk.park("A", due_s)
    assert desk.look(0.0) == (["A"] if due_s == 0.0 else [])
    assert desk.lot.due_in(desk.now) == pytest.approx(next_s)
    assert desk.lot.due_in(desk.now + 9.0) == 0.0
    desk.edit("A", due_at=0.0)
    assert desk.look(next_s - 0.01) == []
    assert desk.look(0.02) == ["A"]


def test_who_owns_no_partition_wakes_nobody_and_looks_again_soon(desk: ParkingLotHarness) -> None:
    desk.park("A", 0.0)
    assert desk.look(0.0, frozenset()) == []
    assert desk.lot.due_in(desk.now) == pytest.approx(LOOK_EVERY_S)
    assert desk.look(LOOK_EVERY_S) == ["A"]


def test_owners_share_the_rows_as_they_share_the_partitions(desk: ParkingLotHarness) -> None:
    for index in range(20):
        desk.park(f"S{index}", 0.0)
    first = desk.look(0.0, frozenset({0}))
    second = desk.look(LOOK_EVERY_S, frozenset({1}))
    assert 0 < len(first) < 20
    assert sorted([*first, *second]) == sorted(f"S{index}" for index in range(20))


def test_a_page_of_each_lane_is_woken_at_once(
    desk: ParkingLotHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROWS_PER_PAGE == 200
    monkeypatch.setattr("pipeline.parking.parking_lot.ROWS_PER_PAGE", 2)
    for number in "ABC":
        desk.park(number, 0.0)
    assert len(desk.look(0.0)) == 2


def test_an_end_brings_the_next_look_forward_but_many_ends_only_one(desk: ParkingLotHarness) -> None:
    assert desk.look(0.0) == []
    desk.lot.look_soon(desk.now + 0.1)
    assert desk.lot.due_in(desk.now) == pytest.approx(LOOK_EVERY_S)  # since the last look
    desk.lot.look_soon(desk.now + 0.9)
    assert desk.lot.due_in(desk.now) == pytest.approx(LOOK_EVERY_S)  # no later than was meant
    assert desk.look(LOOK_EVERY_S) == []
    desk.lot.look_soon(desk.now + 0.5)
    assert desk.lot.due_in(desk.now) == pytest.approx(0.5)


# --- what is put right -------------------------------------------------------------------------------------


def test_a_row_that_nobody_can_have_written_is_looked_at_and_told_of_once_a_minute(
    desk: ParkingLotHarness,
) -> None:
    desk.park("A", None)
    assert desk.look(0.0) == []
    desk.edit("A", bells=-1)
    assert desk.look(MEND_EVERY_S - 1.0) == []
    assert desk.troubles == []
    assert desk.look(1.0) == ["A"]
    [trouble] = desk.troubles
    assert trouble.startswith("1 parked rows were not as")
    assert desk.look(MEND_EVERY_S) == ["A"]  # still due: nobody worked on it; mended it is
    assert len(desk.troubles) == 1


def test_a_clock_that_went_back_is_told_of_and_nobody_waits_longer_than_was_planned(
    desk: ParkingLotHarness,
) -> None:
    desk.park("A", 30.0)
    desk.clock.now -= 3600.0
    assert desk.look(0.0) == []
    [trouble] = desk.troubles
    assert trouble.startswith("the database's clock went back by 3600 s: 1 parked students")
    assert desk.look(30.0) == ["A"]


def test_a_lot_in_order_troubles_nobody(desk: ParkingLotHarness) -> None:
    desk.park("A", None)
    desk.look(0.0)
    desk.look(MEND_EVERY_S)
    assert desk.troubles == []


def test_what_the_log_lost_is_made_up_for_from_the_store_and_each_loss_is_another_cause(
    desk: ParkingLotHarness,
) -> None:
    for number in "AB":
        desk.plant.account(number)
    causes = set()
    for _ in range(2):
        lost = OffsetOutOfRange("offset 7 is gone", tp=TopicPartition("sesame.accounts", 0), first=9)
        desk.lot.make_up_for(lost)
        causes |= {bell.event_id for bell in desk.bells(LOOK_IDLE_S_MAX)}
        with desk.plant.database.write() as connection:
            for number in "AB":
                parking.remove(connection, "directory", number, replays=())
    assert len(causes) == 2
    assert all(trouble.startswith("offset 7 is gone; 2 students are compared") for trouble in desk.troubles)
    assert len(desk.troubles) == 2
