"""The checks of `sesame doctor` that ask the store how the work goes: quarantine, processes, retries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from sesame.app.doctor.findings import CheckResult, fail, ok, warn
from sesame.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipeline.db.database import Database
    from sesame.operations.diagnosis.processes import Process

Found = TypeVar("Found")

_RETRIES_LAST_S = 60.0  # for so long a failure may pass by itself


def quarantine(settings: Settings) -> CheckResult:
    """Whether a consumer has stopped itself, since too much of its work was given up."""
    from pipeline import quarantine

    found = _looked_up(settings, lambda _store, connection: quarantine.every(connection))
    if found is None:
        return ok("no consumer has worked yet")
    if not found:
        return ok("no consumer is in quarantine")
    names = ", ".join(one.consumer for one in found)
    return fail(
        f"in quarantine: {'; '.join(f'{one.consumer}: {one.reason}' for one in found)}",
        f"Look at `sesame dead-letters list`, mend the cause, then `sesame quarantine lift` for {names}.",
    )


def processes(settings: Settings) -> CheckResult:
    """Whether each consumer runs somewhere, and no process that ran one has died."""
    from sesame.operations.diagnosis.processes import OF_THE_STORE, consumers

    expected = (*OF_THE_STORE, *settings.targets)
    found = _looked_up(settings, lambda store, connection: consumers(connection, store, expected))
    if not found or not any(one.processes for one in found.values()):
        return ok("none is at work: `sesame run` starts them all")
    wrong = [
        f"{name}: {process.words}" + (f": {process.reason}" if process.reason and not process.silent else "")
        for name, one in found.items()
        for process in one.processes
        if process.silent or process.state != "running"
    ]
    absent = [name for name, one in found.items() if not one.processes]
    wrong += [f"{name}: no process runs it" for name in absent]
    if not wrong:
        places = {process.place.partition("#")[0] for one in found.values() for process in one.processes}
        return ok(f"{len(found)} consumers at work, in {', '.join(sorted(places))}")
    silent = [process for one in found.values() for process in one.processes if process.silent]
    return fail("; ".join(wrong), _remedy(silent, absent))


def _remedy(silent: Sequence[Process], absent: Sequence[str]) -> str:
    if silent:
        place = silent[0].place.partition("#")[0]
        return (
            f"See in the log of its machine why {place} ended or hangs, and start it again; "
            f"if it is not to come back: sesame processes forget {place}"
        )
    if absent:
        return f"Start it: sesame consume {absent[0]}, or sesame run for all."
    return "The reason says what to mend; the consumer goes on by itself then."


def retries(settings: Settings) -> CheckResult:
    """Who is tried again: a target may refuse some students while its whole path works."""
    from pipeline import parking
    from sesame.operations.diagnosis import explain

    found = _looked_up(
        settings, lambda store, connection: (parking.retries(connection), store.now(connection))
    )
    if found is None:
        return ok("no consumer has worked yet")
    rows, now = found
    if not rows:
        return ok("nobody is tried again")
    text = "tried again: " + "; ".join(
        f"{one.consumer}: {one.students} student{'s' if one.students > 1 else ''}, "
        f"the first for {max(0.0, now - one.oldest_at):.0f} s: {one.cause}"
        for one in rows
    )
    longest = min(rows, key=attrgetter("oldest_at"))
    if now - longest.oldest_at < _RETRIES_LAST_S:
        return ok(text)
    return warn(
        text,
        f"{explain(longest.cause).what} "
        f"Who they are: sesame students --state retrying --cause {longest.cause}",
    )


def _looked_up(settings: Settings, look: Callable[[Database, Connection], Found]) -> Found | None:
    """What the store's rows say; None: there is no store yet, and none is made."""
    from pipeline.db.database import Database

    path = settings.store_file
    if path is not None and not path.exists():
        return None
    with closing(Database(settings.store_url.get_secret_value())) as database, database.read() as connection:
        return look(database, connection)
