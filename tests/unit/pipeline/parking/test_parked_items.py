"""What is kept of a parked row when its student is parked again, and how long one has failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.parking import Kind, Parked
from pipeline.parking.rows import Why, parked_item
from pipeline.runner.announcement import Admitted
from pipeline.target import Waiting
from schemas.account import Lane
from sesame.testing.servers.database_kit import START
from sesame.testing.servers.effects_kit import bell, replay, woken
from sesame.testing.servers.pipeline_kit import Plant

NOW = START + 500.0
FAILED = Parked(
    "A", Kind.RETRY, 3, 2, START + 60.0, 4, START, 17.0, START + 10.0, "busy", "try later", Lane.BULK, "e1",
    replay=False, attempts_version=3,
)  # fmt: skip
RETRY = Why(Kind.RETRY, NOW + 30.0, "slow", "later still")
WAITS = Why(Kind.WAITING, None, "enrolment", owed=False)


def test_one_who_is_parked_for_the_first_time_has_nothing_behind_them() -> None:
    assert parked_item(bell("A", 3, "e2"), None, NOW, RETRY) == Parked(
        "A", Kind.RETRY, 3, 1, NOW + 30.0, 0, NOW, 0.0, NOW, "slow", "later still", Lane.PERSONAL, "e2",
        replay=False, attempts_version=0,
    )  # fmt: skip


def test_failures_stay_counted_when_the_student_fails_again() -> None:
    again = parked_item(bell("A", 2, "e2", bulk=True), FAILED, NOW, RETRY)
    assert (again.attempts, again.attempts_version, again.first_at, again.age_s) == (4, 3, START, 17.0)
    assert (again.version, again.bells, again.counted_at) == (3, 2, NOW)  # the highest that rang
    assert (again.due_at, again.cause, again.message) == (NOW + 30.0, "slow", "later still")
    assert parked_item(bell("A", 5), FAILED, NOW, RETRY).version == 5


@pytest.mark.parametrize(
    ("before", "why"), [(FAILED, WAITS), (replace(FAILED, kind=Kind.WAITING), RETRY)], ids=["begins", "ends"]
)
def test_waiting_forgets_failures(before: Parked, why: Why) -> None:
    again = parked_item(bell("A", 3), before, NOW, why)
    assert (again.attempts, again.attempts_version, again.first_at, again.age_s) == (0, 0, NOW, 0.0)
    assert again.bells == 2


def test_a_replay_is_owed_until_it_is_carried_out_and_the_last_one_names_the_row() -> None:
    asked = replace(FAILED, replay=True, event_id="asked before")
    kept = parked_item(bell("A", 3, "e2"), asked, NOW, RETRY)
    assert (kept.replay, kept.event_id) == (True, "asked before")
    newer = parked_item(replay("A", "asked now"), asked, NOW, RETRY)
    assert (newer.replay, newer.event_id) == (True, "asked now")
    answered = parked_item(replay("A", "asked now"), asked, NOW, WAITS)
    assert (answered.replay, answered.event_id) == (False, "asked now")
    plain = parked_item(bell("A", 3, "e2"), FAILED, NOW, RETRY)
    assert (plain.replay, plain.event_id) == (False, "e2")


def test_age_counts_for_the_version_that_failed_and_not_for_another(plant: Plant) -> None:
    account = plant.account("A", 3)
    here = Admitted(bell("A", 3), account, 2, None, FAILED, NOW, NOW + 60.0, 0.0)
    assert here.age_s(NOW) == 17.0 + 50.0  # what was planned between two tries, and no more
    assert replace(here, account=plant.account("A", 4)).age_s(NOW) == 0.0
    assert replace(here, parked=None).age_s(NOW) == 0.0


def test_one_who_waits_owes_no_replay_any_more_and_is_woken_by_what_rang(plant: Plant) -> None:
    plant.account("A")
    effects = plant.effects()
    effects.finish(effects.admit([replay("A", "asked")]), {"A": Waiting("enrolment")})
    row = plant.parked("A")
    assert row is not None
    assert (row.replay, row.event_id) == (False, "asked")
    assert woken(plant, "A").replays == ()
