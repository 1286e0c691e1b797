"""`sesame run` is killed in the middle of the burst: after a restart nothing is lost and nothing doubled."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from sandbox.demo import play
from sandbox.demo.world import World
from sandbox.process import wait_until
from tests.acceptance.acting import disagreements, settle, state_of, world_with_accounts

pytestmark = pytest.mark.timeout(900)

KILLS = 2

MIDDLE_S_MAX = 400.0
"""The killed process's leases run out first: they last as long as its longest call might have."""


def halfway(world: World, numbers: list[str], share: float) -> bool:
    """Whether so many of these entries are written."""
    return state_of(world, numbers, "directory").count("provisioned") >= share * len(numbers)


def settled_now(world: World) -> int:
    """How many are complete or waiting."""
    overview = world.sesame.overview()
    return int(overview["completed"] + overview["waiting"])


def test_kill_9_in_the_burst_loses_nothing_and_welcomes_everybody_once(tmp_path: Path) -> None:
    with world_with_accounts(tmp_path) as (world, cast):
        numbers = list(cast.students)
        world.moodle.set(latency_per_call_s=3.0)  # so that there is a middle
        with play.begin_activation(world, cast) as command:
            for kill in range(KILLS):
                under_way = partial(halfway, world, numbers, kill / KILLS)
                wait_until(under_way, "the burst to be under way", MIDDLE_S_MAX)
                world.pipeline.kill()
                assert settled_now(world) < len(numbers)
                world.start_pipeline()
            command.answer()
        world.moodle.set(latency_per_call_s=0.0)
        overview = settle(world, len(numbers))

        assert overview["completed"] + overview["waiting"] == len(numbers)
        assert overview["dead_letters"] == 0
        assert disagreements(world, cast) == []
