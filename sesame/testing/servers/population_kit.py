"""Students as the store has them, for tests of counts and lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import insert, text

from consumers.propagation.rows import propagation, propagation_targets
from consumers.propagation.settings import PropagationSettings
from pipeline import throughput
from pipeline.db.database import Database
from pipeline.throughput import Stretch
from sesame.acts.acts import Actor, Role
from sesame.testing.servers import stores
from sesame.testing.servers.accounts import account_of
from sesame.testing.servers.database_kit import START

OPERATOR = Actor("camille", frozenset({Role.OPERATOR}))
TARGETS = ("directory", "moodle")
LONG_AGO = START - 30 * 86_400.0
REASONS = {
    "provisioned": None,
    "waiting": "pedagogical_enrolment_pending",
    "failed": "identity_collision",
}


def student(
    database: Database,
    number: str,
    state: str,
    *,
    version: int = 1,
    seen: dict[str, tuple[str, float]] | None = None,
    elapsed_s: float | None = None,
    lane: str = "personal",
    activated: bool = True,
    joined: int = 1,
    completed_at: float | None = None,
    late_at: float | None = None,
    breached_at: float | None = None,
    **more: Any,
) -> None:
    """Store a student with a propagation in this state, joined up to `joined`. `more`: its account's."""
    asked = datetime.fromtimestamp(START, UTC) if activated else None
    account = account_of(number, f"login.{number}", version=version, activated_at=asked, **more)
    stores.keep(database, account, changed_at=START)
    with database.write() as connection:
        connection.execute(
            insert(propagation).values(
                student_number=number,
                version=joined,
                lane=lane,
                opened_at=START,
                state=state,
                elapsed_s=elapsed_s,
                completed_at=completed_at,
                late_at=late_at,
                breached_at=breached_at,
            )
        )
        for target, (at, seconds) in (seen or {}).items():
            reason = REASONS[at]
            connection.execute(
                insert(propagation_targets).values(
                    student_number=number,
                    target=target,
                    version=joined,
                    lease_epoch=1,
                    sequence=1,
                    state=at,
                    reason=reason,
                    pending='["L1INFO-2026"]' if reason else "[]",
                    finished_at=START + seconds,
                )
            )


def everywhere(seconds: float) -> dict[str, tuple[str, float]]:
    return dict.fromkeys(TARGETS, ("provisioned", seconds))


def site_of(database: Database, targets: tuple[str, ...], follows: Mapping[str, str] | None = None) -> Any:
    """A site, as far as counting acts look at it."""
    settings = SimpleNamespace(
        targets=targets, consumers=("registry", "propagation", *targets), propagation=PropagationSettings()
    )
    return SimpleNamespace(database=database, settings=settings, follows=follows or {})


def done(database: Database, number: str, seconds: float, **more: Any) -> None:
    """Store a student whose account was everywhere so many seconds after the start."""
    how: dict[str, Any] = {
        "completed_at": START + seconds,
        "seen": everywhere(seconds),
        "elapsed_s": seconds,
        **more,
    }
    student(database, number, "completed", **how)


def join(database: Database, number: str, *cohorts: str) -> None:
    """Put a student into cohorts, as the account's document has them."""
    with database.write() as connection:
        row = connection.execute(
            text("SELECT document FROM accounts WHERE student_number = :n"), {"n": number}
        )
        document = json.loads(row.scalar_one()) | {"cohorts": [{"key": cohort} for cohort in cohorts]}
        connection.execute(
            text("UPDATE accounts SET document = :d WHERE student_number = :n"),
            {"d": json.dumps(document), "n": number},
        )


def stretch(target: str, until: float, students: int, **more: Any) -> Stretch:
    """Six seconds of one worker, whose calls had ten students each."""
    calls = -(-students // 10)
    values: dict[str, Any] = {
        "target": target,
        "process": f"host:{target}",
        "until": until,
        "seconds": 6.0,
        "queued": True,
        "students": students,
        "calls": calls,
        "called": students,
        "call_s": 15.0,
        "down_s": 0.0,
        "throttled_s": 0.0,
    }
    return Stretch(**{**values, **more})


def rush(
    database: Database, target: str, per_s: float, *, ends: float = LONG_AGO, rows: int = 20, **more: Any
) -> None:
    """Store a rush of two minutes in which a target took so many students a second."""
    with database.write() as connection:
        for row in range(rows):
            until = ends - 6.0 * (rows - 1 - row)
            throughput.record(connection, database, stretch(target, until, round(6 * per_s), **more))
