"""Turns of single students, and their ends, for tests of the effects."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from pipeline import target_states
from pipeline.engine.bell import Bell, Place, WorkItem
from pipeline.runner import Effects
from pipeline.runner.announcement import Admitted
from pipeline.target import Done, HandlerOutcome, Retry
from pipeline.target_states import Conclusion, State
from schemas import catalogue
from schemas.account import Lane
from sesame.testing.servers.pipeline_kit import Plant

DONE = Done("sha256:" + "0" * 64, changed=True)
UNKNOWN = Retry("timed_out", "no answer", unknown=True)
REFUSED = Retry("target_busy", "busy")

_OFFSETS = itertools.count()


def bell(number: str, version: int = 1, event: str = "bell", *, bulk: bool = False) -> WorkItem:
    lane = Lane.BULK if bulk else Lane.PERSONAL
    place = Place(catalogue.by_lane(catalogue.ACCOUNTS, lane), 0, next(_OFFSETS))
    return WorkItem((Bell(number, version, lane, event, place=place),))


def replay(number: str, event: str = "replay") -> WorkItem:
    place = Place(catalogue.ACTIVATIONS, 0, next(_OFFSETS))
    return WorkItem((Bell(number, 0, Lane.PERSONAL, event, replay=True, place=place),))


def woken(plant: Plant, number: str) -> WorkItem:
    """The item of a student who leaves the parking lot."""
    row = plant.parked(number)
    assert row is not None
    return WorkItem((Bell(number, row.version, row.lane, row.event_id, row.replay),))


def end(effects: Effects, admitted: Mapping[str, Admitted], outcome: HandlerOutcome) -> None:
    """End all who entered with this outcome."""
    effects.finish(admitted, dict.fromkeys(admitted, outcome))


def leader_has(plant: Plant, number: str, version: int) -> None:
    """Record this version of the student's account at the directory."""
    with plant.database.write() as connection:
        states = target_states.states_of(connection, "directory", [number])
        epoch = states[number].lease_epoch + 1 if states else 1
        target_states.lease(connection, plant.database, "directory", {number: epoch}, owner="d", until=0.0)
        ended = Conclusion(
            number, epoch, State.PROVISIONED, version, sequence=1, applied_version=version, digest="d"
        )
        assert target_states.conclude(connection, plant.database, "directory", [ended], now=0.0)
