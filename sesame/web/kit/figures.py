"""Public figures of propagation times, as JSON without persons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.responses import PlainTextResponse, Response

from pipeline.errors import DependencyDown
from sesame.operations.people.diagnosis.figures import KEPT_S, PropagationFigures

FIGURES_PATH: Final = "/metrics/propagation.json"


def figures_answer(figures: Callable[[], PropagationFigures]) -> Response:
    """The answer. Any site may show it (Fetch, CORS), and caches may keep it as long as we do."""
    try:
        body = figures().model_dump_json()
    except DependencyDown:
        return PlainTextResponse("the store does not answer\n", 503, headers={"Retry-After": "60"})
    headers = {
        "Cache-Control": f"public, max-age={KEPT_S:.0f}",
        "Access-Control-Allow-Origin": "*",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(body, media_type="application/json", headers=headers)
