"""Any weather: faults at random, then calm, and everybody is exactly as wanted."""

from __future__ import annotations

import random

import pytest

from pipeline.errors import TargetDown, Throttled
from pipeline.target import Done, HandlerOutcome, Retry, Task
from sandbox.moodle import FaultKind, MoodleStandIn
from schemas.account import Account, Hold, Person
from sesame.testing.servers.moodle_kit import (
    Handlers,
    Operator,
    account,
    cohort,
    handle,
    is_managed,
    numbers,
    writes,
)

STEPS = ("L1INFO", "L1MATH", "L2INFO", "M1DROIT")
FUNCTIONS = (
    None,
    "core_user_create_users",
    "core_user_update_users",
    "core_user_get_users_by_field",
    "core_cohort_create_cohorts",
    "core_cohort_add_cohort_members",
    "core_cohort_delete_cohort_members",
    "core_cohort_get_cohort_members",
)


def any_account(chance: random.Random, number: str, version: int) -> Account:
    steps = chance.sample(STEPS, chance.randrange(len(STEPS)))
    return account(
        number,
        *(cohort(step) for step in steps),
        version=version,
        login=f"elodie.{chance.choice('abc')}{number}",
        person=Person(birth_name="Lefèvre", given_name=chance.choice(["Élodie", "Éli", "Zoé"])),
        holds=frozenset({Hold.ADMINISTRATIVE}) if chance.random() < 0.1 else frozenset(),
    )


@pytest.mark.parametrize("seed", range(4))
def test_after_any_weather_everybody_is_as_wanted_once_and_nothing_more_is_written(
    moodle: MoodleStandIn, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  (a seeded test)
    handlers, operator = Handlers(moodle), Operator(moodle)
    handler = handlers()
    choir = operator.create_cohort("CHORALE")
    wanted: dict[str, Account] = {}
    for version in range(1, 13):
        for number in chance.sample(numbers(12), 6):
            wanted[number] = any_account(chance, number, version)
        for _ in range(chance.randrange(4)):
            kind, function = chance.choice(list(FaultKind)), chance.choice(FUNCTIONS)
            moodle.fault(kind, calls=chance.randrange(1, 4), wsfunction=function, retry_after_s=1)
        try:
            handler.handle([Task(each) for each in wanted.values()])
        except (TargetDown, Throttled):
            moodle.reset()  # the outage is over, and the next turn finds what it finds
    moodle.reset()
    for each in operator.users("idnumber", next(iter(wanted))):
        operator.join(choir, each["id"])
    settled = settle(handlers, wanted)
    before = writes(moodle)
    assert settle(handlers, wanted) == settled
    assert writes(moodle) == before
    for number, one in wanted.items():
        check(operator, number, one)
    handlers.close()


def settle(handlers: Handlers, wanted: dict[str, Account]) -> dict[str, str]:
    """Digests, after at most one more turn for those whose earlier answer was lost."""
    outcomes: dict[str, HandlerOutcome] = dict(handle(handlers(), *wanted.values(), compare=True))
    late = [wanted[number] for number, outcome in outcomes.items() if isinstance(outcome, Retry)]
    outcomes |= handle(handlers(), *late, compare=True)
    digests = {number: each.digest for number, each in outcomes.items() if isinstance(each, Done)}
    assert set(digests) == set(wanted)
    return digests


def check(operator: Operator, number: str, one: Account) -> None:
    found = operator.users("idnumber", number)
    assert len(found) <= 1
    if not found:
        assert not one.access_open
        return
    (user,) = found
    assert user["suspended"] == (not one.access_open)
    assert (user["username"], user["firstname"]) == (one.login, one.person.shown_given_name)
    managed = [each for each in operator.cohorts_of(number) if is_managed(each)]
    assert managed == sorted(each.key for each in one.cohorts)
