"""Targets: show state and managed objects; pause, resume, and probe them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime

from pipeline import pauses
from pipeline.errors import SesameError, fault
from pipeline.pauses import PauseRow
from pipeline.target import Description
from schemas.language import gettext
from schemas.scalars import Text
from sesame.acts import acts
from sesame.acts.acts import EVERYBODY, OPERATORS, Actor, ActPath, ActRequest, Report, act, utc
from sesame.acts.ports import Configured, Diagnosable, Provided, check_target
from sesame.operations.people.diagnosis import processes
from sesame.operations.targets.stopped_consumers import note_reason


class AlreadyPaused(SesameError):
    """This target is paused already: `sesame targets list` says by whom and why."""


class NotPaused(SesameError):
    """This target is not paused. `sesame targets list` shows which are."""


class TargetRequest(ActRequest):
    """A target, and the reason."""

    target: str
    reason: Text


class PausedBy(Report):
    """Who paused a target, since when, and why."""

    actor: str
    since: datetime
    reason: str


class TargetLine(Report):
    """One target.

    Attributes:
        state, reason, lag, per_s: of its consumer; see `ConsumerProcess`.
        paused: None: it is not.
        system: the technology and its address, without secrets; empty: see `fault`.
        owns: what is written there, in the target's own words.
        observed: it is read and never written to.
        fault: why its connector cannot be used.
    """

    target: str
    state: str
    reason: str
    lag: int
    per_s: float
    paused: PausedBy | None
    system: str
    owns: tuple[str, ...]
    observed: bool
    fault: str = ""


class ProbeReport(Report):
    """A probe of the whole path to a target: `well`, or its error; in `seconds`."""

    target: str
    well: bool
    text: str
    seconds: float


@act("target.list", EVERYBODY, path=ActPath("list_targets", "GET", "/targets"))
def listed(site: Diagnosable, _actor: Actor) -> list[TargetLine]:
    """All targets, in the settings' order."""
    names = site.settings.targets
    with site.database.read() as connection:
        consumers = processes.consumers(connection, site.database, names)
        paused = pauses.every(connection)
    return [_line(site, name, consumers[name], paused) for name in names]


@act("target.pause", OPERATORS, path=ActPath("pause_target", "POST", "/targets/pause", 204))
def pause(site: Configured, actor: Actor, request: TargetRequest) -> None:
    """Stop sending work to a target, in every process, within seconds.

    Calls under way end; later work stays on the log. No attempts are charged, and access to be shut there
    waits.

    Raises:
        UnknownTarget, AlreadyPaused: nothing was done.
    """
    check_target(site, request.target)
    with site.database.write() as connection:
        given = {"actor": actor.name, "reason": request.reason}
        if not pauses.place(connection, site.database, request.target, **given):
            raise AlreadyPaused(gettext("{target} is paused already", target=request.target))
        note_reason(connection, site, actor, "target.pause", request.reason, target=request.target)


@act("target.resume", OPERATORS, path=ActPath("resume_target", "POST", "/targets/resume", 204))
def resume(site: Configured, actor: Actor, request: TargetRequest) -> None:
    """Resume a target's consumer, in every process, within seconds.

    Raises:
        UnknownTarget, NotPaused: nothing was done.
    """
    check_target(site, request.target)
    with site.database.write() as connection:
        if not pauses.lift(connection, request.target):
            raise NotPaused(gettext("{target} is not paused", target=request.target))
        note_reason(connection, site, actor, "target.resume", request.reason, target=request.target)


@act("target.probe", OPERATORS, path=ActPath("probe_target", "POST", "/targets/{target}/probe"))
def probe(
    site: Provided, actor: Actor, target: str, *, monotonic: Callable[[], float] = time.monotonic
) -> ProbeReport:
    """Exercise the whole path to a target, as its consumer does after an outage.

    It touches no student's object.

    Raises:
        UnknownTarget: the settings name no such target.
    """
    check_target(site, target)
    acts.note(site.database, actor, "target.probe", target=target)
    begun = monotonic()
    well, text = True, gettext("the whole path works")
    try:
        with closing(site.handler(target)) as handler:
            handler.probe()
    except SesameError as error:
        well, text = False, str(error)
    except Exception as error:  # noqa: BLE001 (connector code: the target is not well)
        well, text = False, fault(error)
    return ProbeReport(target=target, well=well, text=text, seconds=round(monotonic() - begun, 3))


def _line(
    site: Diagnosable,
    name: str,
    consumer: processes.ConsumerProcess,
    paused: Mapping[str, PauseRow],
) -> TargetLine:
    row, described, fault = paused.get(name), Description(name, "", ()), ""
    try:
        with site.connector(name) as connector:
            described = connector.describe()
    except SesameError as error:
        fault = str(error)
    return TargetLine(
        target=name,
        state=consumer.state,
        reason=consumer.reason,
        lag=consumer.lag,
        per_s=consumer.per_s,
        paused=None if row is None else PausedBy(actor=row.actor, since=utc(row.since), reason=row.reason),
        system=described.system,
        owns=described.owns,
        observed=name in site.settings.observed,
        fault=fault,
    )
