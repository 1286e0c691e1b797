"""Each student's state at each target once the world is at rest."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pipeline import accounts, parking, target_states
from pipeline.parking import Parked
from pipeline.target_states import State, TargetState
from schemas.account import Account
from tests.simulation.site import TARGETS
from tests.simulation.world import World


class Standing(NamedTuple):
    """One target and one student, at the end.

    Attributes:
        account: the newest one.
        state: the target's record; None: nothing.
        parked: its row in the parking lot.
    """

    account: Account
    state: TargetState | None
    parked: Parked | None

    @property
    def wanted(self) -> bool:
        """Whether any target is wanted for this account."""
        return self.account.activated_at is not None

    @property
    def applied(self) -> int:
        """The version that the target is recorded to have; 0: none."""
        return self.state.applied_version if self.state is not None else 0

    @property
    def reached(self) -> bool:
        """Whether the target is recorded to have the newest version."""
        state, version = self.state, self.account.version
        return state is not None and state.state is State.PROVISIONED and state.applied_version == version

    @property
    def waits(self) -> bool:
        state, version = self.state, self.account.version
        return state is not None and (state.state, state.state_version) == (State.WAITING, version)

    @property
    def failed(self) -> bool:
        state, version = self.state, self.account.version
        return state is not None and (state.state, state.state_version) == (State.FAILED, version)


@lru_cache(maxsize=1)  # a world at rest stays as it is
def standing(world: World) -> dict[tuple[str, str], Standing]:
    """By target and student, of those for whom a target is wanted."""
    found = {}
    numbers = [each.number for each in world.people.students]
    with world.site.database.read() as connection:
        newest = accounts.newest(connection, numbers)
        parked = {number: parking.all_parked_of(connection, number) for number in newest}
        for name in TARGETS:
            states = target_states.states_of(connection, name, numbers)
            for number, account in newest.items():
                stand = Standing(account, states.get(number), parked[number].get(name))
                if stand.wanted:
                    found[name, number] = stand
    return found
