"""The API application: its routes, what every answer carries, and its description."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.vault import derive_keys
from sesame.acts.acts import RIGHTS
from sesame.operations.programs.polled_events import public_keys
from sesame.web.api import (
    completions,
    derived,
    enrolments,
    examples,
    polling,
    problems,
    reading,
    records,
)
from sesame.web.api.cursors import Cursors
from sesame.web.api.enrolments import EnrolmentsImported
from sesame.web.api.problems import MEDIA_TYPE, Problem
from sesame.web.api.rates import PER_MINUTE, Rates
from sesame.web.api.repeats import Repeats
from sesame.web.api.routes import ROUTES, ActRoute, Api, Route, language_of
from sesame.web.api.webhooks import DESCRIBED, WEBHOOKS_PATH, receive_webhook
from sesame.web.kit.guard import HSTS, SECURITY_HEADERS, with_headers
from sesame.web.kit.languages import speak_for
from sesame.web.kit.signatures import Signing
from sesame.web.kit.site import Site

API_PREFIX: Final = "/v1"
ROOMS: Final = (derived, reading, records, completions, polling, enrolments)
"""The modules whose routes are served."""

_DESCRIPTION: Final = """\
What an operator can do, for programs: every operation is an act that the command line has too, and answers
what it prints with `--json`. Give a token as `Authorization: Bearer sesame_…`; `sesame token create` makes
one, and its scopes say what it may do. Lists name their next page in `Link` (RFC 8288). A POST with an
`Idempotency-Key` may be made again for a day, and is answered the same.

Errors are problem details (RFC 9457). 422: the request is wrong, and `errors` says where; a parameter or
field that is not known is, and so is a name that is given twice. 409: the request is right, and cannot be
done as things stand: `detail` and `remedy` say why. 429: a token has 600 requests in a minute, those of SCIM
included, and 3,000 operations in bulk; `RateLimit` says how many are left, `Retry-After` when to ask again.

A person exists as soon as an enrolment is imported or sent, and nothing is made at a target before the
activation, by the student or by `/activations`: only then completions follow. Who has one name only is taken
where the setting `registrar.one_name` is on.
"""

_ALWAYS: Final = (401, 403, 409, 422, 429, 500, 503)
_OF_POSTS: Final = (400, 408, 413, 415)


def make_api(
    site: Site,
    *,
    keys: list[str],
    clock: Callable[[], datetime],
    monotonic: Callable[[], float] = time.monotonic,
    per_minute: int = PER_MINUTE,
) -> FastAPI:
    """The API, to be mounted under `API_PREFIX`.

    Args:
        keys: the vault's; keys derived from them sign cursors.
        clock: the time, in UTC.
        monotonic: seconds; rates are counted by it.
        per_minute: limit of one token's requests.
    """
    app = _with_routes()
    app.state.api = Api(
        site=site,
        clock=clock,
        rates=Rates(monotonic, per_minute=per_minute),
        cursors=Cursors(Signing(derive_keys(keys, "api"))),
        repeats=Repeats(site.database),
    )
    described = cache(partial(described_api, app))  # built by the first request, in half a second

    @app.get("/openapi.json", include_in_schema=False)
    def show_description() -> Response:
        return JSONResponse(described())

    @app.get("/jwks.json", include_in_schema=False)
    def show_keys() -> Response:
        return JSONResponse(public_keys(site), media_type="application/jwk-set+json")

    app.add_exception_handler(HTTPException, _say)
    app.add_exception_handler(Exception, _say)
    console = site.settings.console
    app.add_middleware(ApiGuard, host=console.origin.partition("://")[2], secure=console.secure)
    return app


class ApiGuard:
    """Answers requests for this host, and forbids caching and framing.

    There are no cookies here, and scripts of other sites are not let in.
    """

    def __init__(self, app: ASGIApp, *, host: str, secure: bool) -> None:
        self._app = app
        self._host = host.lower()
        self._headers = dict(SECURITY_HEADERS)
        self._headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
        if secure:
            self._headers["Strict-Transport-Security"] = HSTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        app = self._app
        if scope["type"] == "http":
            send = with_headers(send, self._headers)
            if Headers(scope=scope).get("host", "").lower() != self._host:
                app = problems.answer(HTTPException(HTTPStatus.MISDIRECTED_REQUEST))
        await app(scope, receive, send)


def _say(request: Request, error: Exception) -> Response:
    speak_for(language_of(request, request.app.state.api))
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        error = HTTPException(error.status_code, headers={"Allow": ", ".join(_methods_of(request))})
    return problems.answer(error)


def _methods_of(request: Request) -> list[str]:
    """The methods of all routes at this path: the router names those of the first one."""
    found: set[str] = set()
    for each in request.app.routes:
        match, _ = each.matches(request.scope)
        found |= set() if match is Match.NONE else each.methods
    return sorted(found)


def _with_routes() -> FastAPI:
    app = FastAPI(
        title="Sesame API",
        version="1",
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for each in ROUTES:
        _add(app, each)
    _add_webhooks(app)
    return app


def _add(app: FastAPI, each: Route) -> None:
    endpoint = each.endpoint
    summary, _, more = (endpoint.__doc__ or "").partition("\n")
    statuses = _ALWAYS + (_OF_POSTS if each.method == "POST" else (400,)) + (404,)
    app.router.add_api_route(
        each.path,
        endpoint,
        methods=[each.method],
        status_code=each.status,
        operation_id=endpoint.__name__,
        summary=summary.rstrip("."),
        description=f"{more.strip()}\n\n{_who_may(each.act)}".strip(),
        tags=[each.act.partition(".")[0]],
        response_class=each.answers,
        response_description="What the act came to.",
        responses=dict.fromkeys(sorted(statuses), _PROBLEM),
        openapi_extra={**each.described, **(_KEY if each.method == "POST" else {})},
        route_class_override=ActRoute,
    )


def _add_webhooks(app: FastAPI) -> None:
    summary, _, more = (receive_webhook.__doc__ or "").partition("\n")
    app.router.add_api_route(
        WEBHOOKS_PATH,
        receive_webhook,
        methods=["POST"],
        response_model=EnrolmentsImported,
        operation_id="receive_webhook",
        summary=summary.rstrip("."),
        description=more.strip(),
        tags=["import"],
        responses=dict.fromkeys((400, 401, 408, 409, 413, 415, 422, 429, 500, 503), _PROBLEM),
        openapi_extra=DESCRIBED,
    )


def _who_may(act: str) -> str:
    return f"The act `{act}`; of the roles: {', '.join(sorted(RIGHTS[act]))}."


_LEADS_TO: Final = (
    ("list_students", "/students/0/student_number", "show_student", "student_number"),
    ("list_students", "/students/0/student_number", "show_timeline", "student_number"),
    ("list_students", "/students/0/student_number", "diagnose_student", "student_number"),
    ("list_students", "/students/0/student_number", "show_record", "student_number"),
    ("search_students", "/students/0/student_number", "show_student", "student_number"),
    ("list_adoption_questions", "/0/id", "show_adoption_question", "question_id"),
    ("list_erasures", "/0/id", "show_erasure", "erasure_id"),
    ("erase_person", "/id", "show_erasure", "erasure_id"),
    ("show_erasure", "/id", "give_receipt", "erasure_id"),
    ("list_dead_letters", "/letters/0/id", "show_dead_letter", "letter"),
    ("list_replays", "/0/replay_id", "show_replay", "replay_id"),
    ("begin_replay", "/replay_id", "show_replay", "replay_id"),
    ("begin_replay", "/replay_id", "stop_replay", "replay_id"),
    ("list_identities", "/0/student_number", "show_identity", "student_number"),
    ("list_imports", "/imports/0/id", "show_import", "import_id"),
    ("list_targets", "/0/target", "probe_target", "target"),
    ("list_plans", "/0/id", "release_plan", "plan_id"),
)
"""An operation, a value's place in its answer, and the operation and parameter that take it."""

_PROBLEM: Final[dict[str, Any]] = {"$ref": "#/components/responses/Problem", "description": ""}
_KEY: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Names this request, which may then be made again for a day: a UUID, say.",
            "schema": {"type": "string", "pattern": r'^("[!#-\[\]-~]{1,128}"|[!#-\[\]-~]{1,128})$'},
        }
    ]
}


def described_api(app: FastAPI) -> dict[str, Any]:
    """The description of all routes (OpenAPI 3.1)."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=app.description,
        routes=app.routes,
        servers=[{"url": API_PREFIX}],
        separate_input_output_schemas=True,
    )
    operations = {each["operationId"]: each for path in document["paths"].values() for each in path.values()}
    for one, place, other, parameter in _LEADS_TO:
        [answer] = (said for status, said in operations[one]["responses"].items() if status.startswith("2"))
        answer.setdefault("links", {})[other] = {
            "operationId": operations[other]["operationId"],
            "parameters": {parameter: f"$response.body#{place}"},
        }
    components = document["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    said = {
        "description": "What is wrong, and what can be done about it.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    components["responses"] = {"Problem": said}
    problem = Problem.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    components["schemas"] |= problem.pop("$defs") | {"Problem": problem}
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "`sesame token create` makes one."}
    }
    document["security"] = [{"token": []}]
    examples.add(document)
    return document


def openapi_page() -> str:
    """The description as docs/reference has it, in JSON."""
    return json.dumps(described_api(_with_routes()), indent=1, ensure_ascii=False) + "\n"
