"""How often a token may ask: each in its own minute, whatever others do."""

from __future__ import annotations

import pytest

from sesame.web.api.rates import Rates, TooManyRequests

MOST = 3


def taken(rates: Rates, name: str) -> int:
    """How many requests of this token are served now."""
    served = 0
    for _ in range(2 * MOST):
        try:
            rates.take(name)
        except TooManyRequests:
            continue
        served += 1
    return served


def test_two_tokens_in_the_middle_of_their_own_minutes_are_counted_apart() -> None:
    now = 1000.0
    rates = Rates(lambda: now, per_minute=MOST)
    assert taken(rates, "early") == MOST
    now += 30
    assert taken(rates, "late") == MOST
    now += 30  # the minute of the one is over, and that of the other is not
    assert taken(rates, "early") == MOST
    assert taken(rates, "late") == 0
    now += 29
    assert taken(rates, "late") == 0
    now += 1
    assert taken(rates, "late") == MOST
    assert taken(rates, "early") == 0


def test_whoever_is_refused_is_told_when_to_come_back_and_is_served_then() -> None:
    now = 1000.0
    rates = Rates(lambda: now, per_minute=MOST)
    rates.take("other")
    now += 45
    assert taken(rates, "token") == MOST
    now += 20
    with pytest.raises(TooManyRequests) as refused:
        rates.take("token")
    now += int(refused.value.headers["Retry-After"])
    assert taken(rates, "token") == MOST
