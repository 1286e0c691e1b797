"""'Abandons': failures by cause, and the page of an incident: cause, state, trial, rest, report."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Annotated, Any, Final

import structlog
from anyio import to_thread
from fastapi import APIRouter, Path, Response

from pipeline.errors import SesameError, fault
from schemas.language import gettext
from sesame.acts.acts import Actor, check, may
from sesame.operations.people.diagnosis.live import LOOK_S_MAX, at_once
from sesame.operations.people.diagnosis.situation import IN_THE_WAY
from sesame.operations.people.known_persons import names_of
from sesame.operations.people.target_look import HoldersRequest, holders
from sesame.operations.targets import stopped_consumers
from sesame.operations.targets.stopped_consumers import NotInQuarantine, QuarantineLift
from sesame.operations.work import dead_letters, incidents, replays
from sesame.operations.work.blast_radius import PreviewRequest, ReplayPreview, preview
from sesame.operations.work.dead_letters import DeadLettersRequest, DismissRequest
from sesame.operations.work.incidents import IncidentRequest
from sesame.operations.work.replays import (
    NobodyToReplay,
    ReplayRequest,
    ReplaySelection,
    ReplaySelectionRequest,
    ResumeReplayRequest,
)
from sesame.web.console.alerts import troubles
from sesame.web.console.console_request import PAGE, ConsoleRequest, Visiting
from sesame.web.console.live import kept_live
from sesame.web.console.now import by_consumer
from sesame.web.console.persons import reason_of
from sesame.web.kit.site import Site
from sesame.web.kit.web_request import PageError, Posted, utc_now

router = APIRouter()

CANARY: Final = 5
LOOKED_AT_MAX: Final = 100
"""Students whom a preview compares with their target; the reader waits for it."""

PER_S_MAX: Final = 10_000
TAKEN: Final = "_taken"
"""Ends the causes of connectors that name a value which another object holds."""

NOT_LOOKED: Final[dict[str, Any]] = {"preview": None, "failed_before": 0, "holders": {}, "unseen": []}
_STOPPED: Final = frozenset({"quarantined", "paused", "down", "open", "misconfigured", "hanging"})
"""States of a consumer in which a replay waits until somebody acts or its target is back."""

Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
ReplayId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,16}$")]


@router.get("/echecs")
def show(visit: Visiting, consumer: str = "", cause: str = "", student: str = "") -> Response:
    """Every cause with its count and remedy; filtered by the words of the command."""
    wanted = DeadLettersRequest(
        consumer=consumer.strip() or None,
        cause=cause.strip() or None,
        student_number=student.strip() or None,
        limit=1 if not student.strip() else PAGE,
    )
    found = dead_letters.page(visit.context.site, visit.actor, wanted)
    return visit.page(
        "failures.html",
        clusters=sorted(found.counts, key=lambda one: (-one.count, one.consumer, one.cause)),
        letters=found.letters if wanted.student_number is not None else [],
        retrying=by_consumer(visit.context.overview.show(visit.actor).retrying),
        asked={"consumer": consumer, "cause": cause, "student": student},
    )


@router.get("/echecs/{consumer}/{cause}")
def show_incident(visit: Visiting, consumer: Token, cause: Token, apres: str = "") -> Response:
    """One cause at one consumer, from the failures to the report, with all acts that settle it."""
    wanted = DeadLettersRequest(consumer=consumer, cause=cause, after=apres or None, limit=visit.rows_max)
    found = dead_letters.page(visit.context.site, visit.actor, wanted)
    live = _incident(visit, consumer, cause)
    numbers = list(dict.fromkeys(one.student_number for one in found.letters if one.student_number))
    names = names_of(visit.context.site, numbers)
    letters = visit.ordered(
        found.letters,
        etudiant=lambda one: one.student_number,
        nom=lambda one: names.get(one.student_number or ""),
        depuis=lambda one: one.recorded_at,
        essais=lambda one: one.attempts,
        message=lambda one: one.message,
    )
    # While students are under way, each look would show another state.
    idle = live["seen"] is None or not live["seen"].under_way
    return visit.page(
        "incident.html",
        found=found,
        letters=letters,
        names=names,
        count=sum(one.count for one in found.counts),
        canary=CANARY,
        per_s=replays.PER_S,
        **(_looked(visit, consumer, cause, numbers) if idle else NOT_LOOKED),
        **live,
    )


@router.get("/echecs/{consumer}/{cause}/flux")
async def stream_incident(visit: Visiting, consumer: Token, cause: Token) -> Response:
    """The page's live part, whenever it changes."""
    check(visit.actor, "incident.show")
    return kept_live(visit, lambda again: again.render("_incident.html", **_incident(again, consumer, cause)))


def _incident(visit: ConsoleRequest, consumer: str, cause: str) -> dict[str, Any]:
    """The variables of the live part: the consumer's state, its newest replay, and the report."""
    site, actor = visit.context.site, visit.actor
    report = incidents.show(site, actor, IncidentRequest(consumer=consumer, cause=cause))
    newest = report.replays[0] if report is not None and report.replays else ""
    replaying = {"replay_id": newest, "seen": None, "stopped_at": None}
    if newest and may(actor, "replay.standing"):
        replaying = _replay(visit, newest)
    overview = visit.context.overview.show(actor)
    stops = [one for one in troubles(overview) if one.consumer == consumer and not one.token]
    quarantined = stopped_consumers.quarantined(site, actor)
    return {
        "consumer": consumer,
        "cause": cause,
        "report": report,
        "stops": stops,
        "state": overview.consumers.get(consumer, {}).get("state"),
        "quarantine": next((one for one in quarantined if one.consumer == consumer), None),
        **replaying,
    }


def _looked(visit: ConsoleRequest, consumer: str, cause: str, numbers: Sequence[str]) -> dict[str, Any]:
    """What a replay would change, and the objects in the way, as the target shows them now."""
    site, actor = visit.context.site, visit.actor
    if not numbers or consumer not in site.settings.targets:
        return NOT_LOOKED
    looks: dict[str, Callable[[], Any]] = {}
    if may(actor, "replay.preview"):
        looks["preview"] = partial(_preview, visit, consumer, cause)
    if cause in IN_THE_WAY or cause.endswith(TAKEN):
        asked = HoldersRequest(target=consumer, students=tuple(numbers[:LOOKED_AT_MAX]))
        looks["holders"] = partial(holders, site, actor, asked)
    seen, unseen = at_once(looks, LOOK_S_MAX)
    changes, failed_before = seen.get("preview", (None, 0))
    return {
        "preview": changes,
        "failed_before": failed_before,
        "holders": seen.get("holders", {}),
        "unseen": list(dict.fromkeys(unseen.values())),
    }


def _preview(visit: ConsoleRequest, consumer: str, cause: str) -> tuple[ReplayPreview, int]:
    selected = _selected(visit, consumer, cause)
    request = PreviewRequest(
        consumer=consumer, students=selected.students[:LOOKED_AT_MAX], selected=len(selected.students)
    )
    return preview(visit.context.site, visit.actor, request), selected.failed_before


@router.post("/echecs/{consumer}/{cause}/essai")
def try_some(visit: Visiting, consumer: Token, cause: Token, fields: Posted) -> Response:
    """Replay five students drawn by lot, after lifting the quarantine if asked to; then the rest."""
    site, actor = visit.context.site, visit.actor
    selected = _selected(visit, consumer, cause)
    request = ReplayRequest(
        consumer=consumer,
        students=selected.students,
        lane=selected.lane,
        reason=reason_of(fields),
        canary=CANARY,
        per_s=_pace(fields),
        incident=fields.get("incident", "").strip()[:120] or None,
        again=fields.get("corrige") == "oui",
    )
    asked = replays.replay(site, actor, request, utc_now)
    if fields.get("lever") == "oui":  # last: a refused replay leaves the quarantine as it was
        with suppress(NotInQuarantine):
            stopped_consumers.lift(site, actor, QuarantineLift(consumer=consumer, reason=request.reason))
    told = gettext("{n} of {all} were asked for", n=asked.asked_now, all=asked.students)
    return visit.done(_page_of(consumer, cause), told)


@router.post("/echecs/{consumer}/{cause}/classer")
def dismiss(visit: Visiting, consumer: Token, cause: Token, fields: Posted) -> Response:
    """Dismiss letters that need no action. Those that a target still owes a student are refused."""
    request = DismissRequest(consumer=consumer, cause=cause, reason=reason_of(fields))
    done = dead_letters.dismiss(visit.context.site, visit.actor, request)
    return visit.done("/console/echecs", gettext("{n} dismissed", n=done.dismissed))


@router.get("/relances")
def show_replays(visit: Visiting) -> Response:
    """The latest replays."""
    found = visit.ordered(
        replays.latest(visit.context.site, visit.actor),
        relance=lambda one: one.incident or one.replay_id,
        cible=lambda one: visit.context.pages.service(one.consumer),
        par=lambda one: one.actor,
        debut=lambda one: one.begun_at,
        etudiants=lambda one: one.students,
        demandes=lambda one: one.asked,
        reussis=lambda one: one.done,
        echecs=lambda one: one.failed,
    )
    return visit.page("replays.html", replays=found)


@router.get("/relances/{replay_id}")
def show_replay(visit: Visiting, replay_id: ReplayId) -> Response:
    """A replay's progress and outcome, and the way on; an incident's last one is on its page."""
    shown, site = _replay(visit, replay_id), visit.context.site
    cause = incidents.cause_of_replay(site, replay_id)
    report = None if cause is None else incidents.show(site, visit.actor, cause)
    if cause is not None and report is not None and report.replays[:1] == (replay_id,):
        return visit.to(_page_of(cause.consumer, cause.cause), **visit.request.query_params)
    return visit.page("replay.html", **shown, stops=())


@router.get("/relances/{replay_id}/flux")
async def stream_replay(visit: Visiting, replay_id: ReplayId) -> Response:
    """The page's live part, whenever it changes."""
    await to_thread.run_sync(_replay, visit, replay_id)  # there is such a replay, and they may see it
    return kept_live(visit, lambda again: again.render("_replay.html", **_replay(again, replay_id), stops=()))


def _replay(visit: ConsoleRequest, replay_id: str) -> dict[str, Any]:
    """The page's variables. `stopped_at`: the state of a consumer that carries nothing out at present."""
    request = ResumeReplayRequest(replay_id=replay_id, first=1)
    seen = replays.standing(visit.context.site, visit.actor, request)
    consumer = visit.context.overview.show(visit.actor).consumers.get(seen.consumer)
    stopped = (
        consumer is not None and consumer["state"] in _STOPPED and seen.done + seen.failed < seen.students
    )
    return {
        "replay_id": replay_id,
        "seen": seen,
        "stopped_at": consumer["state"] if consumer is not None and stopped else None,
    }


@router.post("/relances/{replay_id}/suite")
def go_on(visit: Visiting, replay_id: ReplayId, fields: Posted) -> Response:
    """Replay the rest, at this pace."""
    site, actor = visit.context.site, visit.actor
    found = replays.standing(site, actor, ResumeReplayRequest(replay_id=replay_id, first=1))
    if not found.next:
        raise NobodyToReplay
    _resume(site, actor, ResumeReplayRequest(replay_id=replay_id, per_s=_pace(fields)))
    told = gettext("the {n} others are asked for, one after the other", n=found.students - found.asked)
    return visit.done(f"/console/relances/{replay_id}", told)


@router.post("/relances/{replay_id}/arreter")
def stop(visit: Visiting, replay_id: ReplayId, fields: Posted) -> Response:  # noqa: ARG001 - its token counts
    """Send no more requests."""
    replays.stop(visit.context.site, visit.actor, replay_id)
    return visit.done(f"/console/relances/{replay_id}", gettext("stopped: nobody more is asked for"))


def _page_of(consumer: str, cause: str) -> str:
    return f"/console/echecs/{consumer}/{cause}"


def _selected(visit: ConsoleRequest, consumer: str, cause: str) -> ReplaySelection:
    """The students whom this cause concerns. Raises `NobodyToReplay`: none is left."""
    found = replays.select(
        visit.context.site, visit.actor, ReplaySelectionRequest(consumer=consumer, cause=cause)
    )
    if not found.students:
        raise NobodyToReplay(found.nobody)
    return found


def _pace(fields: dict[str, str]) -> int | None:
    """Students a second; None: as it was. Raises `PageError`: no number, or out of bounds."""
    given = fields.get("par_s", "").strip()
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", given) or not 1 <= int(given) <= PER_S_MAX:
        raise PageError(422, "form")
    return int(given)


def _resume(site: Site, actor: Actor, request: ResumeReplayRequest) -> None:
    """Resume a replay in a new thread, after the form was answered. Raises `ActRefused`: nothing was begun.

    Nothing is lost with the process: resuming a replay sends the remaining requests.
    """
    check(actor, "replay.resume")

    def ask() -> None:
        log = structlog.get_logger()
        try:
            replays.resume(site, actor, request, utc_now)
        except SesameError as error:
            log.warning("replay_stopped", reason=str(error))
        except Exception as error:
            log.exception("replay_stopped", reason=fault(error))

    threading.Thread(target=copy_context().run, args=(ask,), name="replay", daemon=True).start()
