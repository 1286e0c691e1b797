"""Everybody, in one look: how many are where, why, and how long it took."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from pipeline.store import dead_letters, status
from pipeline.store import observed as observation
from pipeline.store.database import Database
from pipeline.store.tables import accounts, propagation, propagation_targets
from pipeline.store.target_states import State
from schemas.account import Account
from schemas.events import Window

PERCENT = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True)
class Person:
    """One activated student, over all targets. `targets` holds state, reason and pending names by target."""

    student_number: str
    login: str
    mail: str
    state: str
    targets: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Overview:
    """Everybody who has activated.

    Attributes:
        accounts: how many the registry has made, activated or not.
        within_15_min, within_60_min, beyond: completed propagations of persons' acts, each counted once.
        seconds: quantiles of the completed ones' time since the window opened, per target and in all.
        targets: how many students are in which state, per target.
        observed: what would be written to the targets that are only observed, per target: students, unchanged
            ones, students per field, and examples.
        people: only if asked for.
    """

    accounts: int
    students: int
    completed: int
    waiting: int
    failed: int
    in_progress: int
    dead_letters: int
    within_15_min: int
    within_60_min: int
    beyond: int
    waiting_by_reason: Mapping[str, int] = field(default_factory=dict)
    dead_letters_by_cause: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    consumers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    observed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    people: Sequence[Person] | None = None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        document = asdict(self)
        if self.people is None:
            del document["people"]
        return document


@dataclass(frozen=True)
class _Row:
    """One activated student's rows."""

    account: Mapping[str, Any]
    progress: Mapping[str, Any] | None
    seen: Mapping[str, Mapping[str, Any]]

    @property
    def version(self) -> int:
        """The newest account version."""
        return int(self.account["version"])

    def state(self) -> str:
        """completed, waiting, failed or in_progress, for the newest version."""
        if self.progress is None or self.progress["version"] < self.version:
            return "in_progress"
        return str(self.progress["state"])

    def target(self, name: str) -> str:
        """provisioned, waiting, failed or outstanding, for the newest version."""
        seen = self.seen.get(name)
        return str(seen["state"]) if seen is not None and seen["version"] >= self.version else "outstanding"


def overview(
    database: Database, *, targets: tuple[str, ...], late_s: float, breach_s: float, with_people: bool = False
) -> Overview:
    """Where everybody who has activated stands, from the store as it is now."""
    with database.read() as connection:
        rows = _rows(connection)
        made = connection.execute(select(func.count()).select_from(accounts)).scalar_one()
        letters = dead_letters.counts(connection)
        consumers = status.statuses(connection)
        seen = observation.observed(connection)
    states = Counter(row.state() for row in rows)
    windows = _windows(rows, late_s, breach_s)
    return Overview(
        accounts=made,
        students=len(rows),
        completed=states["completed"],
        waiting=states["waiting"],
        failed=states["failed"],
        in_progress=states["in_progress"],
        dead_letters=sum(letters.values()),
        within_15_min=windows[Window.WITHIN_15_MIN],
        within_60_min=windows[Window.WITHIN_60_MIN],
        beyond=windows[Window.BEYOND],
        waiting_by_reason=_reasons(rows),
        dead_letters_by_cause={f"{consumer} {cause}": n for (consumer, cause), n in sorted(letters.items())},
        seconds=_seconds(rows, targets),
        targets={name: dict(Counter(row.target(name) for row in rows)) for name in targets},
        consumers={one.consumer: {"state": one.state, "reason": one.reason} for one in reversed(consumers)},
        observed={name: asdict(one) for name, one in seen.items() if name in targets},
        people=[_person(row, targets) for row in rows] if with_people else None,
    )


def _rows(connection: Connection) -> list[_Row]:
    seen: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in connection.execute(select(propagation_targets)).mappings():
        seen.setdefault(row["student_number"], {})[row["target"]] = dict(row)
    progress = {
        row["student_number"]: dict(row) for row in connection.execute(select(propagation)).mappings()
    }
    activated = connection.execute(
        select(accounts).where(accounts.c.activated_at.is_not(None)).order_by(accounts.c.student_number)
    ).mappings()
    return [
        _Row(dict(row), progress.get(row["student_number"]), seen.get(row["student_number"], {}))
        for row in activated
    ]


def _windows(rows: Sequence[_Row], late_s: float, breach_s: float) -> Counter[str]:
    windows: Counter[str] = Counter()
    for row in rows:
        if row.state() != "completed" or row.progress is None or row.progress["lane"] != "personal":
            continue
        elapsed_s = row.progress["elapsed_s"] or 0.0
        edge = Window.WITHIN_60_MIN if elapsed_s <= breach_s else Window.BEYOND
        windows[Window.WITHIN_15_MIN if elapsed_s <= late_s else edge] += 1
    return windows


def _reasons(rows: Sequence[_Row]) -> dict[str, int]:
    """How many of the waiting students wait for what; a student may wait for several things."""
    reasons: Counter[str] = Counter()
    for row in rows:
        if row.state() == "waiting":
            waiting = [seen for seen in row.seen.values() if seen["state"] == State.WAITING]
            reasons.update({seen["reason"] for seen in waiting if seen["version"] >= row.version})
    return dict(sorted(reasons.items()))


def _seconds(rows: Sequence[_Row], targets: tuple[str, ...]) -> dict[str, dict[str, float]]:
    measured: dict[str, list[float]] = {name: [] for name in ("all", *targets)}
    for row in rows:
        if row.state() != "completed" or row.progress is None:
            continue
        elapsed_s = row.progress["elapsed_s"] or 0.0
        measured["all"].append(elapsed_s)
        for name in targets:
            seen = row.seen.get(name)
            if seen is not None:  # a target that the settings have gained since is not there yet
                whole = max(0.0, seen["finished_at"] - row.progress["opened_at"])
                measured[name].append(min(whole, elapsed_s))
    return {name: _quantiles(sorted(values)) for name, values in measured.items() if values}


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank quantiles of sorted values, of which there is at least one."""
    return {
        name: round(values[max(1, -(-percent * len(values) // 100)) - 1], 3)
        for name, percent in PERCENT.items()
    }


def _person(row: _Row, targets: tuple[str, ...]) -> Person:
    account = Account.model_validate_json(row.account["document"])
    found: dict[str, dict[str, Any]] = {}
    for name in targets:
        seen, state = row.seen.get(name), row.target(name)
        known = seen is not None and state != "outstanding"
        found[name] = {
            "state": state,
            "reason": seen["reason"] if known and seen is not None else None,
            "pending": json.loads(seen["pending"] or "[]") if known and seen is not None else [],
        }
    return Person(account.student_number, account.login, account.mail, row.state(), found)
