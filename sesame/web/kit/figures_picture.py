"""The public figures as a picture."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Final

from jinja2 import Template

from schemas.language import Language
from schemas.typography import day, number
from sesame.operations.people.diagnosis.figures import PropagationFigures
from sesame.web.kit.languages import took
from sesame.web.kit.templates import environment

_LEFT, _WIDTH = 200.0, 260.0
_SHORTEST_S, _LONGEST_S = 0.5, 7200.0
_TICKS_S: Final = (1, 10, 60, 900, 3600)


def picture(found: PropagationFigures, language: Language) -> str:
    """The times over the last hour, day and year, on a logarithmic scale."""
    return _template(language).render(
        language=language,
        windows={
            start: {span: of.all for span, of in spans.items()} for start, spans in found.windows.items()
        },
        ticks=_TICKS_S,
        day=day(found.at, language),
    )


def _x(seconds: float) -> float:
    """Where a time is on the scale."""
    share = math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / math.log(_LONGEST_S / _SHORTEST_S)
    return round(_LEFT + _WIDTH * min(1.0, share), 1)


@cache
def _template(language: Language) -> Template:
    made = environment(__package__, language)
    made.filters |= {
        "x": _x,
        "took": partial(took, language=language),
        "number": partial(number, language=language),
    }
    return made.get_template("propagation.svg")
