"""Adds what running processes report of a target to `sesame doctor`'s own test.

The doctor reads the secrets from their files now; a process may have read others before, or have other
settings. Where the two differ, both are shown, each with its time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pipeline import status
from pipeline.db.database import Database
from pipeline.engine.circuit import CircuitState
from pipeline.engine.limits import MISCONFIGURED_DELAY_S
from pipeline.settings import FILE_SUFFIX
from pipeline.status import ConsumerStatus
from schemas.language import gettext
from sesame.app.doctor.findings import CheckResult, CheckState, warn
from sesame.operations.people.diagnosis.person import CONSUMER_SILENT_AFTER_S
from sesame.operations.people.diagnosis.words import word
from sesame.settings import Section, Settings

_STOPPED: Final = (CircuitState.MISCONFIGURED, CircuitState.OPEN)


def beside(finding: CheckResult, settings: Settings, database: Database, target: str) -> CheckResult:
    """Add the reports of the target's consumers to a finding where they differ."""
    with database.read() as connection:
        now = database.now(connection)
        said = [
            one
            for one in status.statuses(connection)
            if one.consumer == target and now - one.seen_at <= CONSUMER_SILENT_AFTER_S
        ]
    stopped = [one for one in said if one.state in _STOPPED]
    if finding.state is CheckState.FAIL:
        return replace(finding, text="; ".join([finding.text, *map(_beside_a_failure, said)]))
    if not stopped:
        return finding
    tried = gettext("{what} (tried just now)", what=finding.text)
    text = "; ".join([tried, *map(_stop, stopped)])
    return warn(text, " ".join(_remedies(settings, target, stopped)))


def _beside_a_failure(one: ConsumerStatus) -> str:
    if one.state in _STOPPED:
        return _stop(one)
    return gettext(
        "process {place} has been {state} since {time}: it has not met this yet, or it uses a secret that it "
        "read before, or other settings",
        place=one.place,
        state=word("states", one.state),
        time=_time(one.since),
    )


def _stop(one: ConsumerStatus) -> str:
    return gettext(
        "process {place} has been {state} since {time}: {why}",
        place=one.place,
        state=word("states", one.state),
        time=_time(one.since),
        why=one.reason,
    )


def _remedies(settings: Settings, target: str, stopped: list[ConsumerStatus]) -> list[str]:
    if all(one.state == CircuitState.OPEN for one in stopped):
        return [gettext("It looks again by itself, and goes on.")]
    looks = gettext(
        "It looks again by itself within {seconds} s, reads the secret's file again if it has changed, and "
        "goes on. If it stays stopped, its settings or its environment are not the doctor's: restart it.",
        seconds=f"{MISCONFIGURED_DELAY_S:g}",
    )
    changed = [
        gettext(
            "{path} was changed at {time}, after the process had stopped.",
            path=path,
            time=_time(path.stat().st_ctime),
        )
        for path in _secret_files(getattr(settings, target))
        if path.stat().st_ctime > min(one.since for one in stopped)
    ]
    return [*changed, looks]


def _secret_files(section: Section) -> list[Path]:
    paths = [getattr(section, name + FILE_SUFFIX) for name in section.secrets()]
    return [path for path in paths if path is not None and path.exists()]


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")
