"""What all operators share, as the overview: made once for everybody, the more seldom the longer it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from schemas.language import in_code, speak
from sesame.acts.acts import Actor, ActRefused, Role, check
from sesame.operations.people.diagnosis import overview
from sesame.web.console import console_context
from sesame.web.console.console_context import SharedReport

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


@pytest.fixture(autouse=True)
def language_as_it_was() -> Iterator[None]:
    """What is shared speaks for itself; the tests that come after speak English."""
    yield
    speak("en", in_code)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(overview, "show", clock.look)
    return clock


def shared(clock: Clock) -> Any:
    def act(site: Any, actor: Actor) -> Any:
        return overview.show(site, actor)

    return SharedReport(None, "overview.show", act, monotonic=clock)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("act", ["overview.show", "students.cohorts"])
def test_whoever_keeps_it_ready_may_look(act: str) -> None:
    check(console_context._KEEPER, act)  # noqa: SLF001
    with pytest.raises(ActRefused):
        check(Actor("sesame", frozenset()), act)


class Turns(threading.Event):
    """Told to stop after some turns; between two of them somebody asks, and what they were shown is kept."""

    def __init__(self, turns_s: Sequence[float], pass_time: Callable[[float], str]) -> None:
        super().__init__()
        self._turns_s, self._pass_time, self.shown = list(turns_s), pass_time, list[str]()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 1.0
        self.shown.append(self._pass_time(self._turns_s.pop(0)))
        if not self._turns_s:
            self.set()
        return self.is_set()


def test_where_it_takes_long_nobody_waits_for_it_once_it_is_kept(clock: Clock) -> None:
    seen, clock.took_s = shared(clock), 4.0

    def pass_time(seconds: float) -> str:
        clock.now += seconds
        looks, shown = clock.looks, seen.show(ADA)
        assert clock.looks == looks  # whoever asks makes none
        return str(shown)

    turns = Turns([1.0, 20.0, 1.0, 30.0, 1.0], pass_time)
    seen.keep(turns)
    assert turns.shown == ["look 1", "look 1", "look 2", "look 2", "look 3"]


def test_one_that_takes_long_is_ready_though_nobody_has_asked_for_a_while(clock: Clock) -> None:
    seen, clock.took_s = shared(clock), 4.0

    def pass_time(seconds: float) -> str:
        clock.now += seconds
        return str(clock.looks)

    turns = Turns([59.0, 2.0, 59.0, 2.0], pass_time)
    seen.keep(turns)
    assert turns.shown == ["1", "1", "2", "2"]


def test_a_look_that_fails_does_not_end_the_looking(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_site: object, _actor: Actor) -> str:
        clock.looks += 1
        if clock.looks == 2:
            raise ValueError
        clock.now += 4.0
        return f"look {clock.looks}"

    seen = shared(clock)
    monkeypatch.setattr(overview, "show", look)

    def pass_time(seconds: float) -> str:
        clock.now += seconds
        return str(seen.show(ADA))

    turns = Turns([61.0, 61.0, 1.0], pass_time)
    seen.keep(turns)
    assert turns.shown == ["look 1", "look 1", "look 3"]
