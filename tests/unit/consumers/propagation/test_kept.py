"""What propagation keeps of each outcome, and by which names its own events are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, select, update

from consumers.propagation.rows import propagation_targets
from consumers.propagation.window import PropagationState
from pipeline.accounts import accounts
from pipeline.outbox import outbox
from pipeline.parking.rows import parked
from schemas.account import Lane
from schemas.events import (
    PropagationBreached,
    PropagationCompleted,
    TargetFailed,
    TargetProvisioned,
    TargetWaiting,
)
from sesame.testing.servers.database_kit import START
from tests.unit.consumers.propagation.propagation_kit import LEA, OPEN, TARGETS, PropagationHarness


def kept(desk: PropagationHarness, target: str) -> dict[str, Any]:
    with desk.database.read() as connection:
        row = connection.execute(
            select(propagation_targets).where(propagation_targets.c.target == target)
        ).mappings()
        return dict(row.one())


def attributes(desk: PropagationHarness) -> list[dict[str, str]]:
    """CloudEvents attributes of what was announced."""
    with desk.database.read() as connection:
        rows = connection.execute(select(outbox.c.headers).order_by(outbox.c.id)).scalars().all()
    return [{name.removeprefix("ce_"): value for name, value in json.loads(row)} for row in rows]


def test_why_a_student_waits_or_failed_is_kept_by_target(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetWaiting, "moodle", 10, pending=("L1 été", "TD 3"))
    desk.outcome(TargetFailed, "directory", 11)
    desk.outcome(TargetProvisioned, "mailbox", 12)
    waiting, failed, there = (kept(desk, target) for target in ("moodle", "directory", "mailbox"))
    assert (waiting["state"], waiting["reason"]) == ("waiting", "pedagogical_enrolment_pending")
    assert json.loads(waiting["pending"]) == ["L1 été", "TD 3"]
    assert "L1 été" in waiting["pending"]
    assert (failed["state"], failed["reason"], json.loads(failed["pending"])) == (
        "failed",
        "identity_collision",
        [],
    )
    assert (there["state"], there["reason"], json.loads(there["pending"])) == ("provisioned", None, [])
    assert [row["finished_at"] for row in (waiting, failed, there)] == [START + 10, START + 11, START + 12]


def test_an_outcome_of_the_same_rank_does_not_take_the_first_one_s_place(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetFailed, "moodle", 10, lease_epoch=5, sequence=2)
    desk.outcome(TargetProvisioned, "moodle", 20, lease_epoch=5, sequence=2)
    assert kept(desk, "moodle")["state"] == "failed"
    desk.outcome(TargetProvisioned, "moodle", 30, lease_epoch=5, sequence=3)
    assert kept(desk, "moodle")["state"] == "provisioned"


def test_a_completion_is_kept_with_its_moment_and_its_length(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    for seconds, target in enumerate(TARGETS, start=7):
        desk.outcome(TargetProvisioned, target, seconds)
    progress = desk.progress()
    assert (progress.state, progress.completed_version) == (PropagationState.COMPLETED, 1)
    assert (progress.completed_at, progress.elapsed_s) == (START + 9, 9.0)
    (completed,) = desk.announced()
    assert isinstance(completed, PropagationCompleted)
    assert completed.targets_s == {"directory": 7.0, "mailbox": 8.0, "moodle": 9.0}
    assert completed.completed_at.timestamp() == START + 9


def test_a_completion_at_once_took_no_time(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.all_done(0)
    (completed,) = desk.announced()
    assert isinstance(completed, PropagationCompleted)
    assert completed.elapsed_s == 0.0


def test_times_are_said_to_the_microsecond(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    desk.all_done(1 / 3)
    (completed,) = desk.announced()
    assert isinstance(completed, PropagationCompleted)
    for seconds in (completed.elapsed_s, *completed.targets_s.values()):
        assert seconds == round(seconds, 6)
        assert seconds == pytest.approx(1 / 3, abs=2e-6)


def test_each_version_and_each_kind_of_event_has_an_id_of_its_own_and_says_what_led_to_it(
    desk: PropagationHarness,
) -> None:
    desk.account(1)
    desk.bell(1)
    desk.tick(900)
    desk.tick(3600)
    for target in TARGETS[:2]:
        desk.outcome(TargetProvisioned, target, 4000)
    last = desk.outcome(TargetProvisioned, TARGETS[2], 4001)
    desk.account(2, opened=5000)
    desk.bell(2, when=5000)
    desk.all_done(5001, 2)
    late, breached, completed, again = attributes(desk)
    assert len({each["id"] for each in (late, breached, completed, again)}) == 4
    assert completed["causationid"] == last.id
    assert "causationid" not in late
    assert "causationid" not in breached


def test_students_completions_have_different_ids(
    desk: PropagationHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.account()
    desk.bell()
    desk.all_done(1)
    monkeypatch.setattr("tests.unit.consumers.propagation.propagation_kit.LEA", "22005678")
    desk.account()
    desk.bell()
    desk.all_done(2)
    one, other = attributes(desk)
    assert one["id"] != other["id"]


def test_a_breach_is_said_once_however_often_its_timer_is_due(desk: PropagationHarness) -> None:
    desk.account()
    desk.bell()
    for _ in range(2):
        with desk.database.write() as connection:
            desk.propagation.on_breached(connection, LEA, START + 3600)
            desk.propagation.on_late(connection, LEA, START + 3600)
    assert sum(isinstance(event, PropagationBreached) for event in desk.announced()) == 1
    assert len(desk.announced()) == 2
    assert (desk.progress().breached_at, desk.progress().late_at) == (START + 3600, START + 3600)


def activated(desk: PropagationHarness) -> None:
    """Léa has activated, and her bell rang."""
    desk.account()
    with desk.database.write() as connection:
        connection.execute(update(accounts).values(activated_at=START))
    desk.bell()


def test_whoever_is_not_complete_is_compared_again_after_records_were_lost(desk: PropagationHarness) -> None:
    activated(desk)
    desk.outcome(TargetProvisioned, "directory", 5)
    with desk.database.write() as connection:
        said = desk.propagation.make_up_for_lost(connection)
    assert said.startswith("1 students")
    with desk.database.read() as connection:
        rows = connection.execute(select(parked).order_by(parked.c.consumer)).mappings().all()
    assert [(row["consumer"], row["student_number"], row["replay"]) for row in rows] == [
        (target, LEA, True) for target in TARGETS
    ]
    (event_id,) = {row["event_id"] for row in rows}
    assert event_id.startswith("resync-")
    with desk.database.write() as connection:
        desk.propagation.make_up_for_lost(connection)
    with desk.database.read() as connection:
        assert event_id not in connection.execute(select(parked.c.event_id)).scalars().all()


def test_whoever_is_complete_is_left_alone_after_records_were_lost(desk: PropagationHarness) -> None:
    activated(desk)
    desk.all_done(5)
    with desk.database.write() as connection:
        assert desk.propagation.make_up_for_lost(connection).startswith("0 students")


def test_a_newer_version_inherits_a_breach_with_the_window_and_no_pause_without_it() -> None:
    before = replace(OPEN, breached_at=START + 3700, late_at=START + 950, paused_since=START + 990)
    assert before.at_version(2, Lane.PERSONAL, START).breached_at == START + 3700
    afresh = before.at_version(2, Lane.PERSONAL, START + 9000)
    assert (afresh.breached_at, afresh.late_at, afresh.paused_since) == (None, None, None)


def test_an_outcome_that_changes_nothing_of_the_version_loads_no_account_and_writes_one_row(
    desk: PropagationHarness,
) -> None:
    desk.account()
    desk.bell()
    desk.outcome(TargetProvisioned, "directory", 10)
    made: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        made.append(statement)

    event.listen(desk.database.engine, "before_cursor_execute", note)
    try:
        desk.outcome(TargetProvisioned, "moodle", 11)
    finally:
        event.remove(desk.database.engine, "before_cursor_execute", note)
    written = [each for each in made if each.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert [each.split()[:3] for each in written] == [["INSERT", "INTO", "propagation_targets"]]
    assert not any("accounts.document" in each for each in made)
