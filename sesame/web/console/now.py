"""'Maintenant': the live overview: alerts, then each target and its processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Response

from sesame.acts.acts import may
from sesame.operations.evidence import reviews
from sesame.operations.people.diagnosis.overview import Bar
from sesame.web.console.alerts import troubles
from sesame.web.console.console_request import ConsoleRequest, Visiting
from sesame.web.console.live import kept_live

router = APIRouter()

WIDTH: Final = 900
HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 10.0, 10.0, 34.0, 26.0
_GAP: Final = 6.0
_LEAST: Final = 2.0
"""The least height of a bar: a single student among many must be visible."""

_FORECAST_S: Final = 15.0
"""How old the forecast may be: it is of hours, and costs more than the counts."""


@router.get("/")
def show(visit: Visiting) -> Response:
    """The page."""
    return visit.page("now.html", **_now(visit))


def _now(visit: ConsoleRequest) -> dict[str, Any]:
    """The page's variables."""
    seen, objectives = visit.context.overview.show(visit.actor), visit.context.site.settings.propagation
    return {
        "seen": seen,
        "forecast": visit.context.forecast.show(visit.actor, age_s_max=_FORECAST_S),
        "troubles": troubles(seen),
        "bars": drawn(seen.durations),
        "picture": (WIDTH, HEIGHT),
        "edges": (objectives.late_s, objectives.breach_s),
        "retrying": by_consumer(seen.retrying),
        "failed": by_consumer(seen.dead_letters_by_cause),
        "waiting": seen.waiting_by_reason,
        "review_due": reviews.reminder(visit.context.site) if may(visit.actor, "review.show") else None,
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
    return kept_live(visit, lambda again: again.render("_now.html", **_now(again)))


@dataclass(frozen=True)
class DrawnBar:
    """A bar and its edge. `x`, `width`, `y`, `height`: the bar's."""

    bar: Bar
    x: float
    width: float
    y: float
    height: float

    @property
    def middle(self) -> float:
        """The middle of the bar, for its number."""
        return round(self.x + self.width / 2, 1)

    @property
    def end(self) -> float:
        """The beginning of the next bar, half a gap before it."""
        return round(self.x + self.width + _GAP / 2, 1)


def drawn(bars: Sequence[Bar]) -> list[DrawnBar]:
    """Each bar's place; the highest one takes all the room."""
    most = max((bar.students for bar in bars), default=0)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(bars))
    room = HEIGHT - _TOP - _BOTTOM
    heights = [max(_LEAST, room * bar.students / most) if bar.students else 0.0 for bar in bars]
    return [
        DrawnBar(
            bar,
            x=round(_LEFT + place * step + _GAP / 2, 1),
            width=round(step - _GAP, 1),
            y=round(HEIGHT - _BOTTOM - height, 1),
            height=round(height, 1),
        )
        for place, (bar, height) in enumerate(zip(bars, heights, strict=True))
    ]
