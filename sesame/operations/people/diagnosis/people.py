"""Activated students with each target's state: rows, read a page at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from consumers.propagation.rows import propagation, propagation_targets
from pipeline.accounts import accounts, numbers_after
from pipeline.db.bulk_sql import rows_among
from pipeline.target_states import State
from schemas.account import Account
from sesame.operations.people.diagnosis.population import AFTER, IN_PROGRESS, OUTSTANDING

ACTIVATED: Final = accounts.c.activated_at.is_not(None)
"""The condition for rows of activated students."""

_ROWS_PER_PAGE = 500
_ACCOUNTS: Final = select(accounts)
_PROGRESS: Final = select(propagation)
_SEEN: Final = select(propagation_targets)


@dataclass(frozen=True)
class PersonTargets:
    """One activated student, over all targets. `targets` holds state, reason and pending names by target."""

    student_number: str
    login: str
    mail: str
    state: str
    targets: Mapping[str, Mapping[str, Any]]


def everybody(
    connection: Connection, targets: Sequence[str], follows: Mapping[str, str]
) -> Iterator[PersonTargets]:
    """All who have activated, by number."""
    last = ""
    while numbers := numbers_after(connection, ACTIVATED, after=last, limit=_ROWS_PER_PAGE):
        yield from people(connection, numbers, targets, follows)
        last = numbers[-1]


def people(
    connection: Connection, numbers: Sequence[str], targets: Sequence[str], follows: Mapping[str, str]
) -> list[PersonTargets]:
    """These students, with what each target has of them."""
    rows: dict[str, _Rows] = {}
    for row in rows_among(connection, _ACCOUNTS, accounts.c.student_number, numbers).mappings():
        rows[row["student_number"]] = _Rows(dict(row))
    for row in rows_among(connection, _PROGRESS, propagation.c.student_number, numbers).mappings():
        rows[row["student_number"]].progress = dict(row)
    for row in rows_among(connection, _SEEN, propagation_targets.c.student_number, numbers).mappings():
        rows[row["student_number"]].seen[row["target"]] = dict(row)
    return [_person(rows[number], targets, follows) for number in numbers]


@dataclass
class _Rows:
    """One activated student's rows."""

    account: Mapping[str, Any]
    progress: Mapping[str, Any] | None = None
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The newest account version."""
        return int(self.account["version"])

    def state(self) -> str:
        """completed, waiting, failed or in_progress, for the newest version."""
        if self.progress is None or self.progress["version"] < self.version:
            return IN_PROGRESS
        given_up = any(self.target(name) == State.FAILED for name in self.seen)
        return str(State.FAILED if given_up else self.progress["state"])

    def target(self, name: str, leader: str | None = None) -> str:
        """State of one target at the newest version.

        One of: provisioned, waiting, failed, outstanding, or after (its leader comes first, and waits or
        has given up).
        """
        seen = self.seen.get(name)
        if seen is not None and seen["version"] >= self.version:
            return str(seen["state"])
        held = leader is not None and self.target(leader) in (State.WAITING, State.FAILED)
        return AFTER if held else OUTSTANDING


def _person(rows: _Rows, targets: Sequence[str], follows: Mapping[str, str]) -> PersonTargets:
    account = Account.model_validate_json(rows.account["document"])
    found: dict[str, dict[str, Any]] = {}
    for name in targets:
        seen, state = rows.seen.get(name), rows.target(name, follows.get(name))
        known = seen is not None and state not in (OUTSTANDING, AFTER)
        found[name] = {
            "state": state,
            "reason": seen["reason"] if known and seen is not None else None,
            "pending": json.loads(seen["pending"] or "[]") if known and seen is not None else [],
        }
    return PersonTargets(account.student_number, account.login, account.mail, rows.state(), found)
