"""The overview that all operators share: made once for everybody, the more seldom the longer it takes."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sesame.operations.acts import Actor, ActRefused, Role
from sesame.operations.diagnosis import overview
from sesame.web.console.console_context import SharedOverview

ADA = Actor("ada", frozenset({Role.VIEWER}))


class Clock:
    """Stands still until it is moved; each look takes `took_s`."""

    def __init__(self) -> None:
        self.now, self.took_s, self.looks = 0.0, 0.0, 0

    def __call__(self) -> float:
        return self.now

    def look(self, _site: object, _actor: Actor) -> str:
        self.looks += 1
        self.now += self.took_s
        return f"look {self.looks}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(overview, "show", clock.look)
    return clock


def shared(clock: Clock) -> Any:
    return SharedOverview(None, monotonic=clock)  # type: ignore[arg-type]


def test_it_is_looked_at_once_in_a_moment_whoever_asks(clock: Clock) -> None:
    seen = shared(clock)
    assert [seen.show(ADA) for _ in range(3)] == ["look 1"] * 3
    clock.now += 2.1
    assert seen.show(ADA) == "look 2"
    clock.now += 29.0
    assert seen.show(ADA, age_s_max=30.0) == "look 2"


def test_where_it_takes_long_it_is_looked_at_a_sixth_of_the_time(clock: Clock) -> None:
    seen, clock.took_s = shared(clock), 4.0
    seen.show(ADA)
    clock.now += 19.9
    assert seen.show(ADA) == "look 1"
    clock.now += 0.2
    assert seen.show(ADA) == "look 2"


def test_nobody_waits_for_somebody_else_s_look_if_there_is_one_before(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = shared(clock)
    assert seen.show(ADA) == "look 1"
    clock.now += 3.0
    begun, end = threading.Event(), threading.Event()

    def slow(_site: object, _actor: Actor) -> str:
        begun.set()
        end.wait()
        return "slow"

    monkeypatch.setattr(overview, "show", slow)
    found: list[str] = []
    other = threading.Thread(target=lambda: found.append(seen.show(ADA)))
    other.start()
    begun.wait()
    assert seen.show(ADA) == "look 1"
    end.set()
    other.join()
    assert found == ["slow"]
    assert seen.show(ADA) == "slow"


def test_who_has_no_role_is_not_shown_what_others_have_looked_at(clock: Clock) -> None:
    seen = shared(clock)
    seen.show(ADA)
    with pytest.raises(ActRefused):
        seen.show(Actor("paul", frozenset()))
