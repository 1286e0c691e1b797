"""`sesame run` is killed in the middle of the burst: after a restart nothing is lost and nothing doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.demo import play
from sandbox.demo.world import World
from sandbox.process import wait_until
from tests.acceptance.acting import disagreements, metric, settle, world_with_accounts

pytestmark = pytest.mark.timeout(1800)

KILLS = 2
MOODLE_LATENCY_S = 4.0
"""Below the time-out of a call, and so long that nobody is complete when the first entries are written."""


def test_kill_9_in_the_burst_loses_nothing_and_welcomes_everybody_once(tmp_path: Path) -> None:
    with world_with_accounts(tmp_path) as (world, cast):
        numbers = list(cast.students)
        world.moodle.set(latency_per_call_s=MOODLE_LATENCY_S)
        for kill in range(KILLS):
            play.activate(world, cast, numbers[kill::KILLS])
            wait_until(lambda: writes_entries(world), "the burst to be under way")
            world.pipeline.kill()
            overview = world.sesame.overview()
            assert overview["completed"] + overview["waiting"] < overview["students"]
            world.start_pipeline()
        world.moodle.set(latency_per_call_s=0.0)
        settled = settle(world, len(numbers))

        assert settled["completed"] + settled["waiting"] == len(numbers)
        assert settled["dead_letters"] == 0
        assert disagreements(world, cast) == []


def writes_entries(world: World) -> bool:
    """Whether this life of `sesame run` has written to the directory."""
    return metric(world, "sesame_target_changes_total", target="directory", result="written") > 0
