"""What a replay would change, told before anybody is asked; and a replay that goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from pipeline import replays
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.eventlog.port import LogUnavailable, NewRecord, TopicPartition
from pipeline.replays import Replay
from pipeline.target import Dead
from producers.replay.requests import ReplayUnderWay, go_on, plan, progress_of
from producers.replay.selection import Selection, select_students
from schemas import catalogue
from schemas.account import Lane, Stage
from schemas.events import ReplayRequested
from sesame.operations.work.blast_radius import Radius, blast_radius
from sesame.testing.servers.pipeline_kit import Plant, live_plant
from sesame.testing.servers.target_kit import NOW

START = NOW.timestamp()


plant = live_plant


def radius(plant: Plant, *numbers: str, follows: str | None = None) -> Radius:
    return blast_radius(numbers, handler=plant.target, database=plant.database, follows=follows)


def bury(plant: Plant, number: str, version: int, *, at: float = START) -> None:
    letter = DeadLetter(f"{number}-{version}", "directory", number, version, "refused", "no", 1, at)
    with plant.database.write() as connection:
        dead_letters.add(connection, plant.database, letter)


# --- the dry run ----------------------------------------------------------------------------------


def test_each_student_is_compared_with_the_target_as_it_is_and_nothing_is_written(plant: Plant) -> None:
    for number in ("A", "B"):
        plant.account(number)
    plant.target.held["B"] = 1
    found = radius(plant, "A", "B", "NOBODY")
    assert (found.changed, found.same) == (1, 1)
    assert found.names() == {"version": 1}
    assert found.obstacles() == {"unknown_student": 1}
    assert plant.target.held == {"B": 1}
    assert plant.state("A") is None
    assert plant.read(*catalogue.both_lanes(catalogue.ACTIVATIONS)) == []


def test_what_is_obsolete_is_told_from_what_is_not(plant: Plant) -> None:
    plant.account("A", 3)
    plant.account("B", 3)
    bury(plant, "A", 2)
    bury(plant, "B", 3)
    found = radius(plant, "A", "B")
    assert [effect.obsolete for effect in found.effects] == [True, False]
    assert found.obsolete == 1


def test_one_whom_a_turn_would_not_reach_meets_an_obstacle(plant: Plant) -> None:
    plant.account("A", stage=Stage.PRECREATED)
    plant.account("B")
    found = radius(plant, "A", "B", follows="elsewhere")
    assert found.obstacles() == {"stage precreated": 1, "after elsewhere": 1}
    assert found.changed == 0


# --- stages ---------------------------------------------------------------------------------------


def asked(plant: Plant) -> list[str]:
    events = [message.event for message in plant.read(catalogue.ACTIVATIONS)]
    assert all(isinstance(event, ReplayRequested) for event in events)
    return sorted(event.student_number for event in events)


def planned_for(plant: Plant, *numbers: str, lane: Lane = Lane.PERSONAL, per_s: int | None = None) -> Replay:
    return plan(
        numbers,
        consumer="directory",
        reason="x",
        actor="camille",
        lane=lane,
        database=plant.database,
        per_s=per_s,
    )


def test_a_replay_asks_for_the_first_few_then_for_the_rest_under_one_id(plant: Plant) -> None:
    numbers = [f"S{number}" for number in range(7)]
    planned = planned_for(plant, *numbers)
    assert asked(plant) == []
    assert continued(plant, planned, first=2) == 2
    assert asked(plant) == ["S0", "S1"]
    assert continued(plant, planned) == 5
    assert continued(plant, planned) == 0
    assert asked(plant) == numbers
    ids = {message.event.replay_id for message in plant.read(catalogue.ACTIVATIONS)}  # type: ignore[attr-defined]
    assert ids == {planned.id}


def continued(plant: Plant, planned: object, **how: object) -> int:
    return go_on(
        planned,  # type: ignore[arg-type]
        producer=plant.producer,
        database=plant.database,
        clock=lambda: datetime.fromtimestamp(START, UTC),
        **how,  # type: ignore[arg-type]
    )


def test_a_pace_is_kept(plant: Plant) -> None:
    planned = planned_for(plant, "A", "B", "C", "D", "E", lane=Lane.BULK, per_s=2)
    waits: list[float] = []
    assert continued(plant, planned, first=1, wait=waits.append) == 1
    with plant.database.read() as connection:
        resumed = replays.by_id(connection, planned.id)
    assert continued(plant, resumed, wait=waits.append) == 4
    assert waits == [1.0]


def test_of_two_runs_of_one_replay_one_asks_and_nobody_is_asked_twice(plant: Plant) -> None:
    planned = planned_for(plant, "A", "B", "C", per_s=1)
    refused: list[str] = []

    def meanwhile(_seconds: float) -> None:  # somebody resumes while the first run pauses
        with pytest.raises(ReplayUnderWay) as caught:
            continued(plant, planned)
        refused.append(str(caught.value))

    assert continued(plant, planned, wait=meanwhile) == 3
    assert asked(plant) == ["A", "B", "C"]
    assert len(refused) == 2
    assert planned.id in refused[0]


def test_a_replay_whose_run_was_killed_may_go_on_a_minute_later(plant: Plant) -> None:
    planned = planned_for(plant, "A", "B", lane=Lane.BULK)
    with plant.database.write() as connection:
        assert replays.claim(connection, plant.database, planned.id, by="killed", ttl_s=60.0)
        now = plant.database.now(connection)
    with pytest.raises(ReplayUnderWay):
        continued(plant, planned)
    with plant.database.write() as connection:
        connection.execute(update(replays.replays).values(asking_until=now))
    assert continued(plant, planned) == 2


class Cut:
    """A log that goes away after one append whose acknowledgement is lost."""

    def __init__(self, inner: object) -> None:
        self.inner = inner
        self.appends = 0

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        self.appends += 1
        done: list[tuple[TopicPartition, int]] = self.inner.append(records)  # type: ignore[attr-defined]
        if self.appends == 2:
            raise LogUnavailable("the acknowledgement was lost")
        return done


def test_a_replay_that_was_cut_off_goes_on_and_who_was_asked_twice_is_recognised(plant: Plant) -> None:
    planned = planned_for(plant, "A", "B", "C", per_s=1)
    cut = Cut(plant.producer)
    with pytest.raises(LogUnavailable):
        go_on(
            planned,
            producer=cut,  # type: ignore[arg-type]
            database=plant.database,
            clock=lambda: datetime.fromtimestamp(START, UTC),
            wait=lambda _s: None,
        )
    assert continued(plant, planned) == 2
    messages = plant.read(catalogue.ACTIVATIONS)
    assert len(messages) == 4
    assert len({message.id for message in messages}) == 3


def test_the_next_stage_knows_how_the_one_before_ended(plant: Plant) -> None:
    for number in ("A", "B", "C"):
        plant.account(number)
    plant.target.script = lambda task: Dead("refused", "no") if task.account.student_number == "B" else None
    planned = planned_for(plant, "A", "B", "C")
    continued(plant, planned, first=2)
    plant.start()
    plant.until(lambda: plant.applied("A") == 1 and bool(plant.letters()))
    plant.stop()
    now = progress_of(plant.database, planned)
    assert (now.students, now.asked, now.done, now.failed, now.under_way) == (3, 2, 1, 1, 0)


def test_a_later_replay_of_a_student_does_not_put_an_earlier_one_under_way_again(plant: Plant) -> None:
    plant.account("A")
    plant.start()
    planned = []
    for _ in range(2):
        asked = plan(
            ["A"], consumer="directory", reason="x", actor="c", lane=Lane.PERSONAL, database=plant.database
        )
        planned.append(asked)
        continued(plant, asked)
        plant.until(lambda asked=asked: progress_of(plant.database, asked).done == 1)  # type: ignore[misc]
    plant.stop()
    assert [progress_of(plant.database, each).under_way for each in planned] == [0, 0]


# --- a time ---------------------------------------------------------------------------------------


def test_a_time_selects_the_dead_letters_and_the_writes_of_then(plant: Plant) -> None:
    for number in ("A", "B"):
        plant.account(number)
    bury(plant, "OLD", 1, at=START - 100.0)
    bury(plant, "NEW", 1, at=START + 1e9)
    plant.ring("A")
    plant.start()
    plant.until(lambda: plant.applied("A") == 1)
    plant.stop()
    before = Selection(until=START)
    assert select_students(plant.database, "directory", before).students == ("OLD",)
    since = Selection(since=START)
    assert select_students(plant.database, "directory", since).students == ("NEW", "A")
    everybody = Selection(everybody=True, since=START)
    assert select_students(plant.database, "directory", everybody).students == ("A",)
    cause = Selection(cause="refused", since=START)
    assert select_students(plant.database, "directory", cause).students == ("NEW",)


def test_named_students_have_no_time() -> None:
    with pytest.raises(ValueError, match="no time"):
        Selection(students=("A",), since=1.0)
