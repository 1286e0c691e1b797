"""The window's arithmetic: what runs, what stands still, and what a version is judged to be. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.propagation.settings import PropagationSettings
from consumers.propagation.window import PropagationState, SeenOutcome, judge, window_of
from schemas.account import Lane
from schemas.events import Window
from sesame.testing.servers.database_kit import START
from tests.unit.consumers.propagation.propagation_kit import OPEN

TARGETS = ("directory", "mailbox", "moodle")
FOLLOWS = {"mailbox": "directory"}

steps = st.lists(
    st.tuples(st.floats(0.001, 5_000.0), st.sampled_from(["pause", "resume"])), min_size=1, max_size=20
)


@given(steps)
def test_the_window_counts_exactly_the_seconds_in_which_it_ran(moves: list[tuple[float, str]]) -> None:
    progress, now, ran, running = OPEN, START, 0.0, True
    for seconds, move in moves:
        now += seconds
        ran += seconds if running else 0.0
        running = move == "resume"
        progress = progress.resumed(now) if running else progress.paused(now)
    closed = progress.resumed(now)
    assert closed.elapsed_at(now) == pytest.approx(ran, abs=1e-4)
    assert closed.elapsed_at(now) + closed.waited_s == pytest.approx(now - START, abs=1e-4)


@given(steps, st.floats(1.0, 10_000.0))
def test_an_edge_is_due_when_that_much_of_the_window_has_run(
    moves: list[tuple[float, str]], edge_s: float
) -> None:
    progress, now = OPEN, START
    for seconds, move in moves:
        now += seconds
        progress = progress.resumed(now) if move == "resume" else progress.paused(now)
    progress = progress.resumed(now)
    assert progress.elapsed_at(progress.due_at(edge_s)) == pytest.approx(edge_s, abs=1e-4)


@given(steps)
def test_pausing_twice_or_resuming_twice_changes_nothing(moves: list[tuple[float, str]]) -> None:
    once, twice, now = OPEN, OPEN, START
    for seconds, move in moves:
        now += seconds
        once = once.resumed(now) if move == "resume" else once.paused(now)
        for _ in range(2):
            twice = twice.resumed(now) if move == "resume" else twice.paused(now)
    assert once == twice


def test_an_outcome_that_is_older_than_the_pause_takes_nothing_away() -> None:
    assert OPEN.paused(START + 60).resumed(START + 50).waited_s == 0.0


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_nothing_elapses_before_the_window_opened(waited_s: float, earlier_s: float) -> None:
    assert replace(OPEN, waited_s=waited_s).elapsed_at(START - earlier_s) == 0.0


def test_a_newer_version_of_an_open_window_inherits_what_it_has_been_through() -> None:
    before = replace(
        OPEN, waited_s=50.0, late_at=START + 950, paused_since=START + 990, state=PropagationState.WAITING
    )
    after = before.at_version(2, Lane.PERSONAL, START)
    assert (after.version, after.state, after.waited_s) == (2, PropagationState.IN_PROGRESS, 50.0)
    assert (after.late_at, after.paused_since) == (START + 950, START + 990)


def test_a_newer_version_with_a_window_of_its_own_starts_afresh() -> None:
    before = replace(
        OPEN, waited_s=50.0, late_at=START + 950, breached_at=START + 3700, completed_version=1, elapsed_s=9.0
    )
    after = before.at_version(2, Lane.BULK, START + 9000)
    assert (after.waited_s, after.late_at, after.breached_at, after.paused_since) == (0.0, None, None, None)
    assert (after.completed_version, after.lane) == (1, Lane.BULK)


def seen(target: str, state: str, version: int = 1, at: float = START) -> SeenOutcome:
    return SeenOutcome(target, version, 1, 1, state, None, at)


def judged(**states: str) -> tuple[PropagationState, tuple[str, ...]]:
    return judge(1, {target: seen(target, state) for target, state in states.items()}, TARGETS, FOLLOWS)


@pytest.mark.parametrize(
    ("states", "state", "left"),
    [
        ({}, PropagationState.IN_PROGRESS, TARGETS),
        (dict.fromkeys(TARGETS, "provisioned"), PropagationState.COMPLETED, ()),
        ({"directory": "provisioned", "moodle": "provisioned"}, PropagationState.IN_PROGRESS, ("mailbox",)),
        (
            {"directory": "waiting", "moodle": "provisioned"},
            PropagationState.WAITING,
            ("directory", "mailbox"),
        ),
        ({"directory": "waiting"}, PropagationState.IN_PROGRESS, TARGETS),  # moodle is still on its way
        ({"directory": "failed", "moodle": "provisioned"}, PropagationState.FAILED, ("directory", "mailbox")),
        (
            {"directory": "provisioned", "mailbox": "waiting", "moodle": "failed"},
            PropagationState.FAILED,
            ("mailbox", "moodle"),
        ),
        (
            {"directory": "provisioned", "mailbox": "waiting"},
            PropagationState.IN_PROGRESS,
            ("mailbox", "moodle"),
        ),
        (
            {"directory": "waiting", "mailbox": "provisioned", "moodle": "waiting"},
            PropagationState.WAITING,
            ("directory", "moodle"),
        ),
    ],
)
def test_a_version_is_what_its_targets_say_and_a_follower_waits_with_its_leader(
    states: dict[str, str], state: PropagationState, left: tuple[str, ...]
) -> None:
    assert judged(**states) == (state, left)


def test_a_target_that_is_at_a_later_version_is_there() -> None:
    found = {target: seen(target, "provisioned", version=3) for target in TARGETS}
    assert judge(2, found, TARGETS, FOLLOWS) == (PropagationState.COMPLETED, ())
    assert judge(4, found, TARGETS, FOLLOWS)[0] is PropagationState.IN_PROGRESS


def test_outcomes_are_ordered_by_version_then_lease_then_sequence_and_not_by_arrival() -> None:
    ranks = [
        SeenOutcome("moodle", version, epoch, sequence, "waiting", None, at).rank
        for version, epoch, sequence, at in ((1, 9, 9, 4.0), (2, 1, 1, 3.0), (2, 1, 2, 2.0), (2, 3, 1, 1.0))
    ]
    assert all(earlier < later for earlier, later in pairwise(ranks))
    assert all(max(order) == ranks[-1] for order in permutations(ranks))


@pytest.mark.parametrize(
    ("elapsed_s", "window"),
    [
        (0.0, Window.WITHIN_15_MIN),
        (900.0, Window.WITHIN_15_MIN),
        (900.1, Window.WITHIN_60_MIN),
        (3600.0, Window.WITHIN_60_MIN),
        (3600.1, Window.BEYOND),
    ],
)
def test_a_persons_propagation_ends_inside_an_objective_or_beyond(elapsed_s: float, window: Window) -> None:
    assert window_of(Lane.PERSONAL, elapsed_s, PropagationSettings()) is window
    assert window_of(Lane.BULK, elapsed_s, PropagationSettings()) is Window.BULK


def test_a_target_that_was_there_before_the_end_has_its_own_time_and_none_exceeds_the_whole() -> None:
    done = replace(OPEN, waited_s=100.0, elapsed_s=50.0)
    assert done.target_elapsed(START + 20) == 20.0
    assert done.target_elapsed(START + 150) == 50.0
    assert done.target_elapsed(START - 5) == 0.0
