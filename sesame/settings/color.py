"""The university's colour: legible on the pages, light and dark (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

from typing import Final

from coloraide import Color

PAPER: Final = "#f5f6f9"
"""The light pages' background. Whatever is legible on it is so on white, and white is legible on it."""

NIGHT: Final = "#232733"
"""The lightest surface of the dark pages."""

CONTRAST_MIN: Final = 4.5
_STEP: Final = 0.005


def legible(color: str, background: str) -> str:
    """Return the nearest legible colour: darker on a light background, lighter on a dark one.

    Colours are `#RRGGBB`. The result has the hue of `color` (OKLCH) and a contrast of at least
    `CONTRAST_MIN`.
    """
    ground, found = Color(background), Color(color)
    darker = ground.contrast("white") < ground.contrast("black")
    shade = found.convert("oklch")
    while found.contrast(ground) < CONTRAST_MIN:
        shade["lightness"] += -_STEP if darker else _STEP
        fitted = shade.clone().fit("srgb").convert("srgb")
        found = Color(fitted.to_string(hex=True))
    return found.to_string(hex=True)
