"""'Abandons': failures by cause: preview, five at random, then the rest, a report."""

from __future__ import annotations

import re
import threading
from contextvars import copy_context
from typing import Annotated, Any, Final

import structlog
from anyio import to_thread
from fastapi import APIRouter, Path, Response

from pipeline.errors import SesameError, fault
from schemas.language import gettext
from sesame.acts.acts import Actor, check
from sesame.operations.people.known_persons import names_of
from sesame.operations.work import dead_letters, replays
from sesame.operations.work.blast_radius import PreviewRequest, preview
from sesame.operations.work.dead_letters import DeadLettersRequest, DismissRequest
from sesame.operations.work.replays import (
    NobodyToReplay,
    ReplayRequest,
    ReplaySelection,
    ReplaySelectionRequest,
    ResumeReplayRequest,
)
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.live import kept_live
from sesame.web.console.now import by_consumer
from sesame.web.console.persons import reason_of
from sesame.web.kit.site import Site
from sesame.web.kit.web_request import PageError, Posted, utc_now

router = APIRouter()

PAGE: Final = 50
CANARY: Final = 5
LOOKED_AT_MAX: Final = 100
"""Students whom a preview compares with their target; the reader waits for it."""

PER_S_MAX: Final = 10_000
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
def show_cause(visit: Visiting, consumer: Token, cause: Token, apres: str = "") -> Response:
    """One cause at one consumer: its students, the remedy, and the way to apply it."""
    wanted = DeadLettersRequest(consumer=consumer, cause=cause, after=apres or None, limit=PAGE)
    found = dead_letters.page(visit.context.site, visit.actor, wanted)
    return visit.page(
        "failure.html",
        consumer=consumer,
        cause=cause,
        found=found,
        names=names_of(
            visit.context.site, [one.student_number for one in found.letters if one.student_number]
        ),
        count=sum(one.count for one in found.counts),
        canary=CANARY,
        per_s=replays.PER_S,
    )


@router.get("/echecs/{consumer}/{cause}/apercu")
def show_preview(visit: Visiting, consumer: Token, cause: Token) -> Response:
    """A replay's changes if made now; nothing is written or requested."""
    selected = _selected(visit, consumer, cause)
    request = PreviewRequest(
        consumer=consumer, students=selected.students[:LOOKED_AT_MAX], selected=len(selected.students)
    )
    seen = preview(visit.context.site, visit.actor, request)
    return visit.page(
        "preview.html",
        consumer=consumer,
        cause=cause,
        seen=seen,
        failed_before=selected.failed_before,
        canary=CANARY,
        per_s=replays.PER_S,
    )


@router.post("/echecs/{consumer}/{cause}/essai")
def try_some(visit: Visiting, consumer: Token, cause: Token, fields: Posted) -> Response:
    """Replay five students drawn by lot; the report leads to the rest."""
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
    asked = replays.replay(visit.context.site, visit.actor, request, utc_now)
    told = gettext("{n} of {all} were asked for", n=asked.asked_now, all=asked.students)
    return visit.done(f"/console/relances/{asked.replay_id}", told)


@router.post("/echecs/{consumer}/{cause}/classer")
def dismiss(visit: Visiting, consumer: Token, cause: Token, fields: Posted) -> Response:
    """Dismiss letters that need no action. Those that a target still owes a student are refused."""
    request = DismissRequest(consumer=consumer, cause=cause, reason=reason_of(fields))
    done = dead_letters.dismiss(visit.context.site, visit.actor, request)
    return visit.done("/console/echecs", gettext("{n} dismissed", n=done.dismissed))


@router.get("/relances")
def show_replays(visit: Visiting) -> Response:
    """The latest replays."""
    return visit.page("replays.html", replays=replays.latest(visit.context.site, visit.actor))


@router.get("/relances/{replay_id}")
def show_replay(visit: Visiting, replay_id: ReplayId) -> Response:
    """A replay's progress and outcome, and the way on."""
    return visit.page("replay.html", **_replay(visit, replay_id))


@router.get("/relances/{replay_id}/flux")
async def stream_replay(visit: Visiting, replay_id: ReplayId) -> Response:
    """The page's live part, whenever it changes."""
    await to_thread.run_sync(_replay, visit, replay_id)  # there is such a replay, and they may see it
    return kept_live(visit, lambda again: again.render("_replay.html", **_replay(again, replay_id)))


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
