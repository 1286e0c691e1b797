"""Public figures of propagation times, without persons: as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pipeline.errors import DependencyDown
from sesame.operations.people.diagnosis.figures import KEPT_S, PropagationFigures

FIGURES_PATH: Final = "/metrics/propagation.json"
PICTURE_PATH: Final = "/metrics/propagation.svg"


def routes(figures: Callable[[], PropagationFigures]) -> list[Route]:
    """Where the figures are shown. Any site may show them (Fetch, CORS), and caches keep them as we do."""
    return [
        Route(FIGURES_PATH, lambda _request: _answer(figures, _json)),
        Route(PICTURE_PATH, lambda request: _answer(figures, lambda found: _picture(found, request))),
    ]


def _answer(
    figures: Callable[[], PropagationFigures], show: Callable[[PropagationFigures], Response]
) -> Response:
    try:
        answer = show(figures())
    except DependencyDown:
        return PlainTextResponse("the store does not answer\n", 503, headers={"Retry-After": "60"})
    answer.headers["Cache-Control"] = f"public, max-age={KEPT_S:.0f}"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _json(found: PropagationFigures) -> Response:
    return Response(found.model_dump_json(), media_type="application/json")


def _picture(found: PropagationFigures, request: Request) -> Response:
    from sesame.web.kit.figures_picture import picture  # pages' libraries, which what runs does without
    from sesame.web.kit.languages import spoken

    language = spoken(request.query_params.get("lang"), request.headers.get("Accept-Language", ""))
    return Response(picture(found, language), media_type="image/svg+xml", headers={"Vary": "Accept-Language"})
