"""'Maintenant': the live overview: alerts, then each target and its processes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from sesame.operations.people.diagnosis.overview import Overview
from sesame.web.console import histogram
from sesame.web.console.alerts import troubles
from sesame.web.console.console_context import ConsoleContext
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.live import kept_live

router = APIRouter()


@router.get("/")
def show(visit: Visiting) -> Response:
    """The page."""
    return visit.page("now.html", **now_page(visit.context.overview.show(visit.actor), visit.context))


def now_page(seen: Overview, context: ConsoleContext) -> dict[str, Any]:
    """The page's variables, from an overview."""
    objectives = context.site.settings.propagation
    failed, waiting = by_consumer(seen.dead_letters_by_cause), seen.waiting_by_reason
    return {
        "seen": seen,
        "troubles": troubles(seen),
        "bars": histogram.drawn(seen.durations),
        "picture": (histogram.WIDTH, histogram.HEIGHT),
        "edges": (objectives.late_s, objectives.breach_s),
        "retrying": by_consumer(seen.retrying),
        "failed": failed,
        "waiting": waiting,
    }


def by_consumer(counted: Any) -> dict[str, dict[str, Any]]:
    """Regroup counts that are keyed by `consumer cause`."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in counted.items():
        consumer, _, token = name.partition(" ")
        found.setdefault(consumer, {})[token] = value
    return found


@router.get("/flux")
async def stream(visit: Visiting) -> Response:
    """The page's live part, whenever it changes."""
    return kept_live(visit, _part)


def _part(visit: ConsoleRequest) -> str:
    return visit.render("_now.html", **now_page(visit.context.overview.show(visit.actor), visit.context))
