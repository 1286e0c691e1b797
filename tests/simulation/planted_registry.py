"""Faults of the registry and of the loop of facts, each put in by name. See `planted`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from consumers.registry import people
from consumers.registry.minter import Minter, Origin, window
from pipeline.errors import DependencyDown
from pipeline.eventlog.port import Record
from pipeline.facts import FactLoop
from schemas.account import Account
from schemas.envelope import event_id

_announce = Minter._announce  # noqa: SLF001
_apply = FactLoop._apply  # noqa: SLF001
_window = window
_record_enrolment = people.People.record_enrolment


def both(*patches: AbstractContextManager[object]) -> AbstractContextManager[object]:
    stack = ExitStack()
    for each in patches:
        stack.enter_context(each)
    return stack


def _announce_twice() -> AbstractContextManager[object]:
    """A version is announced under two ids, as by two concurrent minters."""

    def announce(self: Minter, connection: Connection, account: Account, origin: Origin, now: float) -> None:
        _announce(self, connection, account, origin, now)
        other = replace(origin, event_id=event_id("again", origin.event_id))
        _announce(self, connection, account, other, now)

    return patch.object(Minter, "_announce", announce)


def _mint_at_each_redelivery() -> AbstractContextManager[object]:
    """A version is minted without a change."""
    return patch.object(Account, "same_state", lambda _self, _other: False)


def _lose_facts_when_the_store_fails() -> AbstractContextManager[object]:
    """Facts that failed while the store was away are taken for applied."""

    def apply(self: FactLoop, records: list[Record]) -> int:
        try:
            return _apply(self, records)
        except DependencyDown:
            return len(records)

    return patch.object(FactLoop, "_apply", apply)


def _commit_facts_before_applying() -> AbstractContextManager[object]:
    """The offsets of facts are committed before their transaction."""

    def apply(self: FactLoop, records: list[Record]) -> int:
        for record in records:
            self._applied[record.tp] = record.offset + 1
        self._commit()
        return _apply(self, records)

    return patch.object(FactLoop, "_apply", apply)


def _drop_what_comes_too_early() -> AbstractContextManager[object]:
    """An act before the enrolment is not kept for it."""
    return patch("consumers.registry.handler.pending_facts.take", lambda *_args, **_options: [])


def _let_the_last_one_win() -> AbstractContextManager[object]:
    """The registrar's fact that is read last wins, with any sequence."""

    def record(self: Any, connection: Any, number: str, key: Any, _sequence: int, enrolment: Any) -> bool:
        held = connection.exec_driver_sql(
            "SELECT max(source_sequence) FROM enrolments WHERE student_number = ?", (number,)
        ).scalar_one()
        return _record_enrolment(self, connection, number, key, (held or 0) + 1, enrolment)

    return patch.object(people.People, "record_enrolment", record)


def _apply_an_act_again() -> AbstractContextManager[object]:
    """Redelivered acts are applied again: their ids are not remembered."""
    return patch("consumers.registry.handler.RECENT_FACTS", -1)  # of the last ones: all but the first


def _lose_the_start_in_the_registry() -> AbstractContextManager[object]:
    """A newer version starts when its own fact happened, after any wait."""

    def window(account: Account, _under_way: Any, origin: Origin) -> dict[str, object]:
        opened = origin.time if account.activated_at is not None else None
        return {"lane": origin.lane, "opened_at": opened}

    return patch("consumers.registry.minter.window", window)


def _lose_the_priority() -> AbstractContextManager[object]:
    """Bulk work that supersedes a person's makes the person wait behind a batch."""

    def window(account: Account, under_way: Any, origin: Origin) -> dict[str, object]:
        return {**_window(account, under_way, origin), "lane": origin.lane}

    return patch("consumers.registry.minter.window", window)


PLANTED: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "mint a version twice": _announce_twice,
    "mint though nothing has changed": _mint_at_each_redelivery,
    "lose a fact when the store fails": _lose_facts_when_the_store_fails,
    "commit a fact before it is applied": _commit_facts_before_applying,
    "forget what came before the enrolment": _drop_what_comes_too_early,
    "let an older enrolment win": _let_the_last_one_win,
    "apply an act again": _apply_an_act_again,
    "lose a start time in the registry": _lose_the_start_in_the_registry,
    "lose a person's priority": _lose_the_priority,
}
