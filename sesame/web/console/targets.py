"""'Cibles': state, pause and probe of each, and its last comparison by object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Path, Response

from schemas.language import decimal, gettext
from sesame.acts.acts import UnknownTarget, may
from sesame.operations.programs import polled_events
from sesame.operations.questions.reconcile import acts as reconcile
from sesame.operations.questions.reconcile.passes import KINDS, WENT_BACK, Pass
from sesame.operations.targets import acts as targets
from sesame.operations.targets import stopped_consumers
from sesame.operations.targets.acts import TargetRequest
from sesame.operations.targets.stopped_consumers import QuarantineLift
from sesame.web.console.console_request import PAGE, ConsoleRequest, Visiting
from sesame.web.console.persons import reason_of
from sesame.web.kit.web_request import Posted

router = APIRouter()

Target = Annotated[str, Path(pattern=r"^[a-z0-9_]{1,64}$")]


class Drifted(NamedTuple):
    """One object or student that the last comparison found to differ, and what of it."""

    kind: str
    name: str
    evidence: tuple[str, ...]
    place: str


@router.get("/cibles")
def show_targets(visit: Visiting) -> Response:
    """Each target: its state, quarantine or pause, log losses, and last comparison."""
    site, actor = visit.context.site, visit.actor
    return visit.page(
        "targets.html",
        seen=visit.context.overview.show(actor),
        lines={one.target: one for one in targets.listed(site, actor)},
        quarantined={one.consumer: one for one in stopped_consumers.quarantined(site, actor)},
        lost=stopped_consumers.unaccepted(site, actor),
        passes={one.target: one for one in reconcile.latest(site, actor)},
        receivers=[name for name, each in site.settings.webhooks.receivers.items() if each.url],
    )


@router.get("/cibles/{target}")
def show_target(visit: Visiting, target: Target, apres: str = "") -> Response:
    """One target: its managed objects and the differences, by the reader's rights."""
    site, actor = visit.context.site, visit.actor
    line = next((one for one in targets.listed(site, actor) if one.target == target), None)
    if line is None:
        raise UnknownTarget
    found = next((one for one in reconcile.latest(site, actor) if one.target == target), None)
    names = found is not None and may(actor, "students.list")
    drifted = list(_drifted(found, apres)) if found is not None and names else []
    more = drifted[PAGE - 1].place if len(drifted) > PAGE else None
    return visit.page("target.html", line=line, found=found, drifted=drifted[:PAGE], names=names, next=more)


def _drifted(found: Pass, after: str) -> Iterator[Drifted]:
    """Remembered differences by kind and name, after a place of the list."""
    for kind in (each for each in KINDS if each != WENT_BACK):
        for name in sorted(found.left.get(kind, ())):
            if (place := f"{KINDS.index(kind)}{name}") > after:
                yield Drifted(kind, name, found.evidence.get(name, ()), place)


@router.post("/cibles/lever")
def lift_quarantine(visit: Visiting, fields: Posted) -> Response:
    """Lift a consumer's quarantine; an incident's page is shown again."""
    request = QuarantineLift(consumer=fields.get("consumer", "")[:64], reason=reason_of(fields))
    stopped_consumers.lift(visit.context.site, visit.actor, request)
    cause = fields.get("cause", "")
    incident = f"/console/echecs/{quote(request.consumer)}/{quote(cause, safe='')}"
    return _goes_on(visit, request.consumer, incident if cause else "/console/cibles")


@router.post("/cibles/pause")
def pause(visit: Visiting, fields: Posted) -> Response:
    """Pause a target."""
    request = TargetRequest(target=fields.get("cible", "")[:64], reason=reason_of(fields))
    targets.pause(visit.context.site, visit.actor, request)
    name = visit.context.pages.service(request.target)
    return visit.done("/console/cibles", gettext("{target} is paused within seconds", target=name))


@router.post("/cibles/reprendre")
def resume(visit: Visiting, fields: Posted) -> Response:
    """Resume the consumer of a paused target."""
    request = TargetRequest(target=fields.get("cible", "")[:64], reason=reason_of(fields))
    targets.resume(visit.context.site, visit.actor, request)
    return _goes_on(visit, request.target)


@router.post("/cibles/sonder")
def probe(visit: Visiting, fields: Posted) -> Response:
    """Exercise the whole path to a target from here."""
    found = targets.probe(visit.context.site, visit.actor, fields.get("cible", "")[:64])
    said = {"target": visit.context.pages.service(found.target), "seconds": decimal(found.seconds)}
    told = gettext("{target}: {text} ({seconds} s)", text=found.text, **said)
    return visit.done("/console/cibles", told)


@router.post("/cibles/recepteurs/essayer")
def try_receiver(visit: Visiting, fields: Posted) -> Response:
    """Send a receiver one empty event."""
    name = fields.get("recepteur", "")[:32]
    tried = polled_events.try_receiver(visit.context.site, visit.actor, name)
    answered = gettext("{receiver} answers {status}", receiver=name, status=tried.status)
    silent = gettext("{receiver} gives no answer", receiver=name)
    return visit.done("/console/cibles", silent if tried.status is None else answered)


def _goes_on(visit: ConsoleRequest, consumer: str, page: str = "/console/cibles") -> Response:
    name = visit.context.pages.service(consumer)
    return visit.done(page, gettext("{consumer} goes on within seconds", consumer=name))
