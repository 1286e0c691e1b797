"""`status` of whom nothing is left: the truth about what ended, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection, insert, select, update

from pipeline import audit
from pipeline.accounts import accounts
from pipeline.target_states import target_states
from schemas.account import Administrative
from sesame.acts.acts import Actor, Role
from sesame.cli.status import _ending
from sesame.operations.people.diagnosis.person import EndedStep
from sesame.operations.people.known_persons import NoSuchStudent
from sesame.operations.people.status import NoEnrolmentLeft, show
from sesame.operations.people.student import timeline
from sesame.operations.questions.reconcile import passes
from sesame.operations.questions.reconcile.passes import Pass
from sesame.testing.servers.registry_kit import (
    LEA,
    PAUL,
    START,
    RegistryHarness,
    activation,
    cancelled,
    enrolled,
)
from sesame.testing.servers.stores import sqlite_store

DESK = Actor("odile", frozenset({Role.SUPPORT}))
CANCELLED = EndedStep(2026, "L1INFO", "261", cancelled=True)


class Site:
    """A site with a store and one target."""

    def __init__(self, desk: RegistryHarness) -> None:
        self.database = desk.database
        self.settings = cast("Any", SimpleNamespace(targets=("directory",)))
        self.follows: Mapping[str, str] = {}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[RegistryHarness]:
    made = RegistryHarness(sqlite_store(tmp_path))
    yield made
    made.database.close()


def told(desk: RegistryHarness, number: str = LEA) -> str:
    return "\n".join(_ending(show(Site(desk), DESK, number)))


def test_a_timeline_is_somebody_s_and_the_look_is_noted(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    found = timeline(Site(desk), DESK, LEA)
    assert "account activated" in [each.what for each in found.moments]
    with pytest.raises(NoSuchStudent):
        timeline(Site(desk), DESK, PAUL)
    with desk.database.read() as connection:
        looks = audit.entries(connection, action="students.timeline", limit=9)
    assert [(look.actor, look.detail["student_number"]) for look in looks] == [("odile", LEA)]


def test_a_target_that_was_seen_to_lack_somebody_has_no_version_of_theirs(desk: RegistryHarness) -> None:
    for number, name in ((LEA, "Martin"), (PAUL, "Petit")):
        desk.apply(enrolled(number, birth_name=name))
        desk.apply(activation(number))
        with desk.database.write() as connection:
            version = show_version(connection, number)
            connection.execute(
                insert(target_states).values(
                    target="directory",
                    student_number=number,
                    applied_version=version,
                    state="provisioned",
                    state_version=version,
                    since=START.timestamp(),
                )
            )
    ended = START + timedelta(hours=1)
    seen = Pass(
        target="directory",
        ended_at=ended,
        seconds=1.0,
        accounts=2,
        objects=1,
        unmanaged=0,
        unsettled=0,
        found={"missing": 1},
        left={"missing": [LEA]},
    )
    with desk.database.write() as connection:
        passes.keep(connection, desk.database, seen)
    [lacks], [has] = (show(Site(desk), DESK, number).targets for number in (LEA, PAUL))
    assert (lacks.version, has.version > 0) == (0, True)
    assert "missing" in lacks.cause
    assert "sesame reconcile --target directory --repair" in lacks.next
    with desk.database.write() as connection:  # mended since
        mended = update(target_states).where(target_states.c.student_number == LEA)
        connection.execute(mended.values(since=(ended + timedelta(hours=1)).timestamp()))
    [mended_one] = show(Site(desk), DESK, LEA).targets
    assert mended_one.version > 0


def show_version(connection: Connection, number: str) -> int:
    return int(connection.execute(select(accounts.c.version).filter_by(student_number=number)).scalar_one())


def test_an_account_that_was_never_opened_waits_for_an_enrolment_and_for_nobody(
    desk: RegistryHarness,
) -> None:
    desk.apply(enrolled())
    desk.apply(cancelled())
    found = show(Site(desk), DESK, LEA)
    assert (found.enrolled, found.ended) == (False, (CANCELLED,))
    [target] = found.targets
    assert (target.state, target.cause) == (
        "not_opened",
        "No enrolment is left that an account could be opened for.",
    )
    assert "activates" not in target.next
    assert told(desk).startswith("cancelled by the registrar: 2026 L1INFO-261\n")
    assert "was never opened" in told(desk)


def test_an_open_account_says_how_long_access_stays(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(activation())
    desk.apply(cancelled())
    day = (START + timedelta(days=30)).date().isoformat()
    assert f"access stays open until {day}, then the account expires" in told(desk)
    desk.clock.set(START + timedelta(days=31))
    with desk.database.write() as connection:
        desk.registry.due(connection, LEA, desk.clock())
    assert f"access has been shut since {day}" in told(desk)


def test_a_year_that_is_over_is_told_apart_from_a_cancellation(desk: RegistryHarness) -> None:
    desk.apply(enrolled(year=2025, step="L3INFO"))
    desk.apply(enrolled(sequence=2))
    desk.apply(activation())
    desk.clock.set(datetime(2026, 11, 2, tzinfo=UTC))
    desk.apply(cancelled(sequence=3))
    assert show(Site(desk), DESK, LEA).ended == (CANCELLED, EndedStep(2025, "L3INFO", "261", cancelled=False))
    assert "of a year that is over: 2025 L3INFO-261" in told(desk)


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded as cancelled", "never recorded"])
def test_who_was_cancelled_before_there_was_an_account_is_not_called_unknown(
    desk: RegistryHarness, *, recorded: bool
) -> None:
    desk.apply(enrolled(administrative=Administrative.CANCELLED) if recorded else cancelled())
    with pytest.raises(NoEnrolmentLeft, match="cancelled are 2026 L1INFO-261"):
        show(Site(desk), DESK, LEA)


def test_nobody_is_still_nobody(desk: RegistryHarness) -> None:
    desk.apply(cancelled())
    with pytest.raises(NoSuchStudent):
        show(Site(desk), DESK, PAUL)


def test_whoever_is_enrolled_reads_nothing_of_it(desk: RegistryHarness) -> None:
    desk.apply(enrolled())
    desk.apply(cancelled(step="M1DROIT"))
    assert told(desk) == ""
