"""The histogram of propagation times as SVG coordinates: drawn without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sesame.operations.people.diagnosis.overview import Bar

WIDTH: Final = 900
HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 10.0, 10.0, 34.0, 26.0
_GAP: Final = 6.0
_LEAST: Final = 2.0
"""The least height of a bar: a single student among many must be visible."""


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
    found = []
    for place, bar in enumerate(bars):
        height = max(_LEAST, room * bar.students / most) if bar.students else 0.0
        found.append(
            DrawnBar(
                bar,
                x=round(_LEFT + place * step + _GAP / 2, 1),
                width=round(step - _GAP, 1),
                y=round(HEIGHT - _BOTTOM - height, 1),
                height=round(height, 1),
            )
        )
    return found
