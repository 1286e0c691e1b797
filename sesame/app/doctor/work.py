"""The checks of `sesame doctor` on work: quarantine, processes, retries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from schemas.language import gettext, ngettext
from sesame.app.doctor.findings import CheckResult, fail, ok, warn
from sesame.app.lazy import lazily
from sesame.settings import Settings

with lazily():
    from pipeline import parking
    from pipeline import quarantine as pipeline_quarantine
    from pipeline.db import database as store
    from sesame.operations.people.diagnosis import processes as diagnosis_processes
    from sesame.operations.people.diagnosis import reasons

if TYPE_CHECKING:
    from sqlalchemy import Connection

Found = TypeVar("Found")

_RETRIES_LAST_S = 60.0  # a failure of up to this age may pass without help


def quarantine(settings: Settings) -> CheckResult:
    """Whether a consumer has stopped itself, since too much of its work was given up."""
    found = _looked_up(settings, lambda _store, connection: pipeline_quarantine.every(connection))
    if found is None:
        return ok(gettext("no consumer has worked yet"))
    if not found:
        return ok(gettext("no consumer is in quarantine"))
    names = ", ".join(one.consumer for one in found)
    return fail(
        gettext(
            "in quarantine: {which}",
            which="; ".join(gettext("{name}: {value}", name=one.consumer, value=one.reason) for one in found),
        ),
        gettext(
            "Look at `sesame dead-letters list`, mend the cause, then `sesame quarantine lift` for {names}.",
            names=names,
        ),
    )


def processes(settings: Settings) -> CheckResult:
    """Whether each consumer runs somewhere, and no process that ran one has died."""
    found = _looked_up(
        settings,
        lambda database, connection: diagnosis_processes.consumers(connection, database, settings.consumers),
    )
    if not found or not any(one.processes for one in found.values()):
        return ok(gettext("none is at work: `sesame run` starts them all"))
    wrong = [
        gettext("{name}: {value}", name=name, value=_how(process))
        for name, one in found.items()
        for process in one.processes
        if process.silent or process.state != "running"
    ]
    absent = [name for name, one in found.items() if not one.processes]
    wrong += [gettext("{name}: no process runs it", name=name) for name in absent]
    if not wrong:
        places = {process.place.partition("#")[0] for one in found.values() for process in one.processes}
        where = ", ".join(sorted(places))
        return ok(gettext("{n} consumers at work, in {places}", n=len(found), places=where))
    silent = [process for one in found.values() for process in one.processes if process.silent]
    return fail("; ".join(wrong), _remedy(silent, absent))


def _how(process: diagnosis_processes.Process) -> str:
    if process.reason and not process.silent:
        return gettext("{name}: {value}", name=process.words, value=process.reason)
    return process.words


def _remedy(silent: Sequence[diagnosis_processes.Process], absent: Sequence[str]) -> str:
    if silent:
        place = silent[0].place.partition("#")[0]
        return gettext(
            "See in the log of its machine why {place} ended or hangs, and start it again; if it is not to "
            "come back: sesame processes forget {place}",
            place=place,
        )
    if absent:
        return gettext("Start it: sesame consume {name}, or sesame run for all.", name=absent[0])
    return gettext("The reason says what to mend; the consumer goes on by itself then.")


def retries(settings: Settings) -> CheckResult:
    """Students under retry: a target may refuse some while its whole path works."""
    found = _looked_up(
        settings, lambda database, connection: (parking.retries(connection), database.now(connection))
    )
    if found is None:
        return ok(gettext("no consumer has worked yet"))
    rows, now = found
    if not rows:
        return ok(gettext("nobody is tried again"))
    each = [
        ngettext(
            "{consumer}: {n} student, the first for {seconds} s: {cause}",
            "{consumer}: {n} students, the first for {seconds} s: {cause}",
            one.students,
            consumer=one.consumer,
            seconds=f"{max(0.0, now - one.oldest_at):.0f}",
            cause=one.cause,
        )
        for one in rows
    ]
    text = gettext("tried again: {which}", which="; ".join(each))
    longest = min(rows, key=attrgetter("oldest_at"))
    if now - longest.oldest_at < _RETRIES_LAST_S:
        return ok(text)
    return warn(
        text,
        gettext(
            "{what} Who they are: {command}",
            what=reasons.explain(longest.cause).what,
            command=f"sesame students --state retrying --cause {longest.cause}",
        ),
    )


def _looked_up(settings: Settings, look: Callable[[store.Database, Connection], Found]) -> Found | None:
    """Return `look`'s result from the store; None: there is no store (none is created)."""
    path = settings.store_file
    if path is not None and not path.exists():
        return None
    with (
        closing(store.Database(settings.store_url.get_secret_value())) as database,
        database.read() as connection,
    ):
        return look(database, connection)
