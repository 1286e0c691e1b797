"""A server is away in the burst: the others go on, and when it is back everybody is completed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from sandbox.demo import play
from sandbox.demo.play import Cast
from sandbox.demo.world import World
from sandbox.process import wait_until
from tests.acceptance.acting import OUTAGE_S, STUDENTS, disagreements, settle, state_of, world_with_accounts

pytestmark = pytest.mark.timeout(1800)

GO_ON = {"directory": ("moodle",), "mailbox": ("directory", "moodle"), "moodle": ("directory", "mailbox")}
"""Which targets do not need the one that is away. The mail server looks its users up in the directory."""

GO_ON_S_MAX = 120.0 + STUDENTS

SETTLED = {"provisioned", "waiting"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Cast]]:
    """A world whose students activate a third at a time."""
    with world_with_accounts(tmp_path_factory.mktemp("records")) as (world, cast):
        yield world, cast


@pytest.mark.parametrize(("turn", "target"), list(enumerate(GO_ON)))
def test_an_outage_is_that_target_s_alone_and_leaves_nobody_behind(
    prepared: tuple[World, Cast], turn: int, target: str
) -> None:
    world, cast = prepared
    earlier = list(play.announced(world))
    mine = list(cast.students)[turn :: len(GO_ON)]
    first, second = mine[: len(mine) // 2], mine[len(mine) // 2 :]
    opened = [number for number in mine if cast.students[number].opened]

    play.activate(world, cast, first)
    world.servers[target].kill()  # what is under way there is cut off
    gone_at = time.monotonic()
    play.activate(world, cast, second)
    for other in GO_ON[target]:
        wait_until(lambda: all_settled(world, opened, other), f"{other} to go on", GO_ON_S_MAX)  # noqa: B023
    assert "outstanding" in state_of(world, [number for number in second if number in opened], target)
    assert world.sesame.overview()["consumers"][target]["state"] != "running"
    wait_until(lambda: time.monotonic() - gone_at >= OUTAGE_S, "the outage to be over", OUTAGE_S + 10.0)
    world.start_server(target)

    overview = settle(world, len(earlier) + len(mine))
    assert overview["dead_letters"] == 0
    assert all_settled(world, opened, target)
    assert disagreements(world, cast, earlier + mine) == []


def test_a_server_that_goes_away_while_nobody_needs_it_is_seen(prepared: tuple[World, Cast]) -> None:
    world, _ = prepared

    def is_running(target: str) -> bool:
        return bool(world.sesame.overview()["consumers"][target]["state"] == "running")

    for target in GO_ON:
        wait_until(lambda: is_running(target), f"{target} to run", GO_ON_S_MAX)  # noqa: B023
        world.servers[target].kill()
        wait_until(lambda: not is_running(target), f"{target} to be missed", GO_ON_S_MAX)  # noqa: B023
        world.start_server(target)
        wait_until(lambda: is_running(target), f"{target} to run again", GO_ON_S_MAX)  # noqa: B023


def all_settled(world: World, numbers: list[str], target: str) -> bool:
    """Whether the target has done, for all of these, what can be done now."""
    states = state_of(world, numbers, target)
    return len(states) == len(numbers) and set(states) <= SETTLED
