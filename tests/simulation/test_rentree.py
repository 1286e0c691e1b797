"""The forecast beside two hundred simulated rentrées."""

from __future__ import annotations

from statistics import median

import pytest

from sesame.operations.work.forecast.history import histories
from sesame.operations.work.forecast.model import Drawn, Queue, draw
from tests.simulation.rentree import Rentree, rentree

SEEDS = range(1, 201)


@pytest.fixture(scope="module")
def lived() -> list[tuple[Rentree, Drawn]]:
    return [(one, told(one)) for one in map(rentree, SEEDS)]


def told(one: Rentree) -> Drawn:
    """The forecast, with what can be known when it is asked for."""
    slots = one.servers[0].slots
    known = histories({server.name: one.known(server.name) for server in one.servers}, slots)
    queues = {
        server.name: Queue(
            known[server.name],
            one.today[server.name].left(one.students, one.asked_at),
            server.workers,
            server.follows,
            is_down=one.today[server.name].is_down(one.asked_at),
        )
        for server in one.servers
    }
    return draw({name: queue for name, queue in queues.items() if queue.students}, one.asked_at)


def test_the_interval_holds_the_truth_in_four_of_five_rentrees(lived: list[tuple[Rentree, Drawn]]) -> None:
    held = [drawn.low <= one.end - one.asked_at <= drawn.high for one, drawn in lived]
    assert 0.75 <= sum(held) / len(held) <= 0.85


def test_it_is_narrow_enough_to_be_of_use(lived: list[tuple[Rentree, Drawn]]) -> None:
    widths = [(drawn.high - drawn.low) / (one.end - one.asked_at) for one, drawn in lived]
    assert median(widths) < 0.2


def test_neither_too_early_nor_too_late_on_the_whole(lived: list[tuple[Rentree, Drawn]]) -> None:
    shares = [drawn.median / (one.end - one.asked_at) for one, drawn in lived]
    assert 0.95 < median(shares) < 1.05


def test_the_brake_is_who_was_last(lived: list[tuple[Rentree, Drawn]]) -> None:
    """Of two that end within a twentieth of each other either is right."""
    right = 0
    for one, drawn in lived:
        ends = {name: of.end - one.asked_at for name, of in one.today.items()}
        right += ends[drawn.brake or ""] > 0.95 * max(ends.values())
    assert right >= 0.85 * len(lived)


def test_the_rentrees_have_what_a_rentree_has(lived: list[tuple[Rentree, Drawn]]) -> None:
    ones = [one for one, _ in lived]
    during = [
        one for one in ones for of in one.today.values() if any(begins < of.end for begins, _ in of.outages)
    ]
    bound = [
        one
        for one in ones
        if any(each.throttled_s for each in one.today.get("cloud", one.today["moodle"]).stretches)
    ]
    assert len(during) > 100
    assert len(bound) > 30
    assert 60 < sum(one.asked_at > one.began for one in ones) < 140
