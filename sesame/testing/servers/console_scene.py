"""A September morning for the console: students complete, late, waiting, failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import insert

from consumers.propagation.rows import propagation, propagation_targets
from pipeline.dead_letters import rows as dead_letters
from pipeline.dead_letters.rows import DeadLetter
from pipeline.parking.rows import parked
from pipeline.status import consumer_status
from producers.registrar.feed import SEQUENCES_PER_IMPORT
from producers.registrar.import_runs import SqlImports
from producers.registrar.report import (
    Difference,
    ImportDetail,
    ImportEnd,
    ImportKind,
    YearDifference,
)
from sesame.operations.questions.adoption import adoptions
from sesame.operations.questions.adoption.adoptions import QuestionRow
from sesame.operations.questions.adoption.questions import QuestionKind
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.passes import Pass
from sesame.operations.work.forecast.promises import forecasts
from sesame.testing.servers.console_kit import ConsoleDesk
from sesame.testing.servers.population_kit import rush
from sesame.testing.servers.portal_kit import put

TARGETS = ("directory", "mailbox", "moodle")
DURATIONS_S = (0.8, 1.4, 1.9, 2.2, 2.7, 2.9, 3.3, 3.8, 4.6, 7.1, 12.0, 41.0, 640.0, 1500.0)


def complete(desk: ConsoleDesk, number: str, elapsed_s: float = 2.9) -> None:
    """Simulate a student complete at every target, so long after the request."""
    _propagated(desk, number, "completed", opened_s_ago=elapsed_s + 60, elapsed_s=elapsed_s)
    for target in TARGETS:
        put(desk.portal, number, target, "provisioned", None)


def under_way(desk: ConsoleDesk, number: str, since_s: float) -> None:
    """Simulate a request of this age, without any result."""
    _propagated(desk, number, "in_progress", opened_s_ago=since_s)


def waits(desk: ConsoleDesk, number: str, target: str, reason: str) -> None:
    """Simulate a target that waits for something of this student's."""
    _propagated(desk, number, "waiting", opened_s_ago=600.0)
    _seen(desk, number, target, "waiting", reason)
    put(desk.portal, number, target, "waiting", reason)


def given_up(desk: ConsoleDesk, number: str, target: str, cause: str, message: str = "no") -> None:
    """Simulate work that a target has given up for this student."""
    _propagated(desk, number, "failed", opened_s_ago=900.0)
    _seen(desk, number, target, "failed", cause)
    put(desk.portal, number, target, "failed", cause)
    letter = DeadLetter(
        id=f"{number}{target}".encode().hex().ljust(64, "0")[:64],
        consumer=target,
        student_number=number,
        version=2,
        cause=cause,
        message=message,
        attempts=3,
        recorded_at=desk.portal.clock.now - 300.0,
    )
    with desk.portal.database.write() as connection:
        dead_letters.add(connection, desk.portal.database, letter)


def tried_again(desk: ConsoleDesk, number: str, target: str, cause: str) -> None:
    """Simulate a target's retry for this student."""
    under_way(desk, number, 40.0)
    now = desk.portal.clock.now
    values = {"consumer": target, "student_number": number, "kind": "retry", "version": 2, "due_at": now + 9}
    more = {"attempts": 2, "first_at": now - 38, "counted_at": now, "cause": cause, "message": "busy"}
    with desk.portal.database.write() as connection:
        connection.execute(insert(parked).values(**values, **more, lane="personal", event_id="e"))


def at_work(desk: ConsoleDesk, silent: Sequence[str] = (), **states: str) -> None:
    """Simulate a process for every consumer, in this state (default: running).

    The `silent` ones have a second process, which reports no more.
    """
    now = desk.portal.clock.now
    names = desk.settings.consumers
    rows = [
        (name, f"app1:412{place}:x", states.get(name, "running"), now - 2) for place, name in enumerate(names)
    ]
    rows += [(name, "app2:733:x", "running", now - 95) for name in silent]
    with desk.portal.database.write() as connection:
        connection.execute(consumer_status.delete())
        for consumer, process, state, seen_at in rows:
            busy = consumer in TARGETS and state == "running"
            values = {
                "consumer": consumer,
                "process": process,
                "state": state,
                "reason": "",
                "since": now - 900,
            }
            lag, per_s = (180, 46.5) if busy else (0, 0.0)
            more = {"seen_at": seen_at, "lag_personal": lag, "lag_bulk": 0, "per_s": per_s}
            connection.execute(insert(consumer_status).values(**values, **more))


def morning(desk: ConsoleDesk) -> dict[str, str]:
    """The whole scene; some students are named after their state."""
    portal = desk.portal
    at_work(desk, silent=("moodle",))
    for elapsed_s in DURATIONS_S * 3:
        complete(desk, portal.active(), elapsed_s)
    number = {
        "complete": portal.active(birth_name="Durand", given_name="Léa"),
        "late": portal.active(),
        "waiting": portal.active(),
        "retried": portal.active(),
        "failed": portal.active(birth_name="Nguyễn", given_name="Chloé"),
    }
    complete(desk, number["complete"])
    under_way(desk, number["late"], 1800.0)
    waits(desk, number["waiting"], "moodle", "pedagogical_enrolment_pending")
    tried_again(desk, number["retried"], "mailbox", "mailbox_busy")
    given_up(desk, number["failed"], "moodle", "moodle_email_taken", "Email address already exists: x")
    number["doubt"] = portal.student(birth_name="Durand", given_name="Léa")
    asked = QuestionRow("moodle", "1742", number["complete"], QuestionKind.IDNUMBER_EMPTY)
    with portal.database.write() as connection:
        adoptions.ask(connection, portal.database, [asked], portal.clock.now)
        portal.context.desk_letters.print(connection, number["complete"], "fr")
    number["question"] = asked.id
    _compared(desk, number["complete"])
    _forecast(desk)
    _imported(desk)
    for _ in range(11):
        given_up(desk, portal.active(), "moodle", "moodle_email_taken", "Email address already exists: x")
    given_up(desk, portal.active(), "directory", "identity_collision")
    return number


def _forecast(desk: ConsoleDesk) -> None:
    """Simulate yesterday's rush, what was forecast of it, and what happened."""
    yesterday = desk.portal.clock.now - 86_400.0
    for target in desk.portal.settings.targets:
        rush(desk.portal.database, target, 3.0, ends=yesterday)
    values = {"made_at": yesterday - 600.0, "students": 4_812, "brake": "mailbox"}
    times = {"done_at": yesterday, "low": yesterday - 120.0, "high": yesterday + 180.0}
    with desk.portal.database.write() as connection:
        connection.execute(insert(forecasts).values(**values, **times, happened_at=yesterday + 60.0))


def _compared(desk: ConsoleDesk, number: str) -> None:
    """Simulate last night's comparison of Moodle with the accounts."""
    left = {"missing": ["22990001"], "different": [number], "extra": [], "orphaned": ["1743"]}
    found = Pass(
        target="moodle",
        ended_at=desk.portal.desk_time() - timedelta(hours=7),
        seconds=42.0,
        accounts=61,
        objects=60,
        unmanaged=12,
        unsettled=3,
        found={kind: len(names) for kind, names in left.items()},
        left=left,
        evidence={number: ("email", "lastname"), "1743": ("22990002",)},
    )
    with desk.portal.database.write() as connection:
        passes.keep(connection, desk.portal.database, found)


def _imported(desk: ConsoleDesk) -> None:
    """Simulate two finished imports of the registrar's file, and a third under way."""
    steps = {"L1INFO": Difference(new=41, gone=2), "M1CHIM": Difference(new=3, changed=1)}
    year = YearDifference(year=2026, people=Difference(new=42, gone=2, changed=3), programmes=steps)
    runs, now = SqlImports(desk.portal.database), desk.portal.clock.now
    for place, lines in enumerate((1_180, 1_222)):
        at = now - 86_400.0 * (2 - place)
        begun = ImportDetail(kind=ImportKind.ENROLMENTS, actor="colette", last_line=lines + 1)
        which = runs.begin("apogee", file_name=f"inscrits-{place + 13}.csv", started_at=at, detail=begun)
        ended = begun.model_copy(
            update={"ended": ImportEnd.DONE, "ended_at": at + 9, "differences": (year,) if place else ()}
        )
        counts = {"lines": lines, "students": lines - 70, "recorded": 44, "gone": 2, "unchanged": lines - 46}
        runs.finish(which, confirmed=0, finished_at=at + 9, summary={**counts, "rejected": 0}, detail=ended)
    begun = ImportDetail(kind=ImportKind.ENROLMENTS, actor="colette", last_line=1_240)
    which = runs.begin("apogee", file_name="inscrits-15.csv", started_at=now - 4, detail=begun)
    runs.break_off(which, begun, confirmed=which * SEQUENCES_PER_IMPORT + 733)


def _propagated(
    desk: ConsoleDesk, number: str, state: str, *, opened_s_ago: float, elapsed_s: float | None = None
) -> None:
    now, database = desk.portal.clock.now, desk.portal.database
    opened_at = now - opened_s_ago
    late = state == "in_progress" and opened_s_ago > 900
    values = {
        "student_number": number,
        "version": 9,
        "lane": "personal",
        "opened_at": opened_at,
        "state": state,
        "completed_version": 9 if elapsed_s is not None else 0,
        "completed_at": None if elapsed_s is None else opened_at + elapsed_s,
        "elapsed_s": elapsed_s,
        "late_at": now if late else None,
        "breached_at": now if late and opened_s_ago > 3600 else None,
    }
    statement = database.insert(propagation).values(**values)
    with database.write() as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=[propagation.c.student_number], set_=values)
        )
    for target in TARGETS if elapsed_s is not None else ():
        _seen(desk, number, target, "provisioned", None, finished_at=opened_at + elapsed_s)


def _seen(
    desk: ConsoleDesk,
    number: str,
    target: str,
    state: str,
    reason: str | None,
    finished_at: float | None = None,
) -> None:
    database = desk.portal.database
    values = {
        "student_number": number,
        "target": target,
        "version": 9,
        "lease_epoch": 1,
        "sequence": 1,
        "state": state,
        "reason": reason,
        "finished_at": desk.portal.clock.now if finished_at is None else finished_at,
    }
    keys = [propagation_targets.c.student_number, propagation_targets.c.target]
    statement = database.insert(propagation_targets).values(**values)
    with database.write() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
