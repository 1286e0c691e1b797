"""Faults of the registry and of the loop of facts, each put in by name. See `planted`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from consumers.registry import people
from consumers.registry.minter import Minter, Origin, window
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import Record
from pipeline.facts import FactLoop
from schemas.account import Account
from schemas.envelope import event_id
from tests.simulation.faults import Faults

PLANTED: Final = Faults()

_announce = Minter._announce  # noqa: SLF001
_apply = FactLoop._apply  # noqa: SLF001
_window = window
_record_enrolment = people.People.record_enrolment


@PLANTED.by("mint a version twice", Minter, "_announce")
def _announce_under_two_ids(
    self: Minter, connection: Connection, account: Account, origin: Origin, now: float
) -> None:
    """As two who mint at once would do it."""
    _announce(self, connection, account, origin, now)
    other = replace(origin, event_id=event_id("again", origin.event_id))
    _announce(self, connection, account, other, now)


PLANTED.change("mint though nothing has changed", Account, "same_state", new=lambda _self, _other: False)


@PLANTED.by("lose a fact when the store fails", FactLoop, "_apply")
def _apply_if_the_store_is_there(self: FactLoop, records: list[Record]) -> int:
    try:
        return _apply(self, records)
    except DependencyDown:
        return len(records)


@PLANTED.by("commit a fact before it is applied", FactLoop, "_apply")
def _commit_and_apply(self: FactLoop, records: list[Record]) -> int:
    for record in records:
        self._applied[record.tp] = record.offset + 1
    self._commit()
    return _apply(self, records)


PLANTED.change(
    "forget what came before the enrolment",
    "consumers.registry.handler.pending_facts.take",
    new=lambda *_args, **_options: [],
)


@PLANTED.by("let an older enrolment win", people.People, "record_enrolment")
def _let_the_last_one_win(
    self: Any, connection: Any, number: str, key: Any, _sequence: int, enrolment: Any
) -> bool:
    held = connection.exec_driver_sql(
        "SELECT max(source_sequence) FROM enrolments WHERE student_number = ?", (number,)
    ).scalar_one()
    return _record_enrolment(self, connection, number, key, (held or 0) + 1, enrolment)


# Their ids are not remembered; -1, of the last ones: all but the first.
PLANTED.change("apply an act again", "consumers.registry.handler.RECENT_FACTS", new=-1)


@PLANTED.by("lose a start time in the registry", "consumers.registry.minter.window")
def _window_of_its_fact(account: Account, _under_way: Any, origin: Origin) -> dict[str, object]:
    opened = origin.time if account.activated_at is not None else None
    return {"lane": origin.lane, "opened_at": opened}


@PLANTED.by("lose a person's priority", "consumers.registry.minter.window")
def _window_of_a_batch(account: Account, under_way: Any, origin: Origin) -> dict[str, object]:
    return {**_window(account, under_way, origin), "lane": origin.lane}
