"""Error answers: problem details (RFC 9457).

An error of ours is its own type of problem, `urn:sesame:error:NoSuchStudent`; docs/reference/causes.md
explains each. Any other HTTP status is `about:blank`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from consumers.webhooks.signatures import SignatureRefused
from pipeline.errors import DependencyDown, Misconfigured, SesameError, TargetDown, Throttled, fault, meaning
from pipeline.eventlog.port import LogUnavailable, OffsetOutOfRange
from producers.registrar.faults import UnusableFile
from schemas.language import gettext
from sesame.acts.acts import ActRefused
from sesame.operations.access.lifecycle import NoSuchPlan
from sesame.operations.identities.acts import NoSuchDoubt
from sesame.operations.imports.past import NoSuchImport
from sesame.operations.people.known_persons import NoSuchStudent
from sesame.operations.privacy.acts import NoSuchErasure
from sesame.operations.programs.person_facts import PersonUnderWay
from sesame.operations.programs.polled_events import NoSuchReceiver
from sesame.operations.programs.tokens import TokenRefused
from sesame.operations.questions.adoption.acts import NoSuchQuestion
from sesame.operations.work.canary.acts import NeverSent
from sesame.operations.work.dead_letters import NoSuchDeadLetter
from sesame.operations.work.replays import NoSuchReplay
from sesame.web.api.words import in_words

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 30
"""`Retry-After` while a dependency is down: time for a supervisor to restart it."""

_MISSING: Final = (
    NeverSent,
    NoSuchDeadLetter,
    NoSuchDoubt,
    NoSuchErasure,
    NoSuchImport,
    NoSuchPlan,
    NoSuchQuestion,
    NoSuchReceiver,
    NoSuchReplay,
    NoSuchStudent,
)
_AWAY: Final = (
    DependencyDown,
    LogUnavailable,
    TargetDown,
    Throttled,
    Misconfigured,
    PersonUnderWay,
)


class ApiError(SesameError):
    """What was asked cannot be answered as it was asked."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(
        self,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[WrongPlace] = (),
    ) -> None:
        super().__init__(message)
        self.headers = headers or {}
        self.errors = errors


class WrongPlace(BaseModel):
    """A fault of a request. `pointer`: its place in the body (RFC 6901); `parameter`: or the parameter."""

    detail: str
    pointer: str | None = Field(None, exclude_if=lambda value: value is None)
    parameter: str | None = Field(None, exclude_if=lambda value: value is None)


class Problem(BaseModel):
    """Problem details (RFC 9457).

    Attributes:
        type: of problem.
        title: its meaning, in words.
        detail: of this occurrence.
        remedy: what to do.
        errors: each fault of the request.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field("", exclude_if=lambda value: not value)
    remedy: str = Field("", exclude_if=lambda value: not value)
    errors: Sequence[WrongPlace] = Field((), exclude_if=lambda value: not value)


def answer(error: Exception, *, bearer: bool = False) -> JSONResponse:
    """The answer to an error, in the current language. `bearer`: a token was given."""
    headers: dict[str, str] = {}
    if isinstance(error, SesameError):
        status = status_of(error)
        means = gettext(meaning(type(error)))
        remedy = gettext(error.remedy)
        problem = Problem(
            type=f"urn:sesame:error:{type(error).__name__}",
            title=means,
            status=status,
            detail="" if str(error) == means else str(error),
            remedy=remedy,
            errors=error.errors if isinstance(error, ApiError) else (),
        )
        headers |= headers_of(error, bearer=bearer)
    elif isinstance(error, RequestValidationError):
        problem = _plain(HTTPStatus.UNPROCESSABLE_ENTITY, errors=tuple(map(_place, error.errors())))
    elif isinstance(error, HTTPException):
        problem = _plain(HTTPStatus(error.status_code))
        headers |= error.headers or {}
    else:
        structlog.get_logger().error("api_fault", error=fault(error))
        problem = _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=MEDIA_TYPE)


def headers_of(error: SesameError, *, bearer: bool = False) -> dict[str, str]:
    """Further headers of the answer to an error of ours."""
    headers = dict(error.headers) if isinstance(error, ApiError) else {}
    if isinstance(error, TokenRefused):
        headers["WWW-Authenticate"] = _challenge(bearer=bearer)
    if isinstance(error, Throttled):
        headers["Retry-After"] = f"{max(1, round(error.retry_after_s))}"
    elif status_of(error) == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = f"{RETRY_AFTER_S}"
    return headers


def _plain(status: HTTPStatus, *, errors: Sequence[WrongPlace] = ()) -> Problem:
    return Problem(title=status.phrase, status=status, errors=errors)


def status_of(error: SesameError) -> HTTPStatus:
    """The HTTP status of an error: its kind's, else 422 for wrong usage, else 409."""
    if isinstance(error, ApiError):
        return error.status
    for kinds, status in _STATUSES:
        if isinstance(error, kinds):
            return status
    wrong = getattr(error, "exit_code", None) == 2  # noqa: PLR2004 (wrong usage, as commands have it)
    return HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.CONFLICT


_STATUSES: Final[Sequence[tuple[tuple[type[SesameError], ...], HTTPStatus]]] = (
    ((TokenRefused, SignatureRefused), HTTPStatus.UNAUTHORIZED),
    ((ActRefused,), HTTPStatus.FORBIDDEN),
    (_MISSING, HTTPStatus.NOT_FOUND),
    ((OffsetOutOfRange,), HTTPStatus.GONE),
    (_AWAY, HTTPStatus.SERVICE_UNAVAILABLE),
    ((UnusableFile,), HTTPStatus.UNPROCESSABLE_ENTITY),
)


def _challenge(*, bearer: bool) -> str:
    """The `WWW-Authenticate` header; without a token it names no error (RFC 6750, 3)."""
    return 'Bearer realm="sesame"' + (', error="invalid_token"' if bearer else "")


def _place(error: Mapping[str, Any]) -> WrongPlace:
    """A wrong value's place, and the reason; never the value: it may be personal."""
    where, *path = error["loc"]
    if where == "body":
        return WrongPlace(detail=in_words(error), pointer="".join(_steps(path)) or "")
    return WrongPlace(detail=in_words(error), parameter=".".join(map(str, path)))


def _steps(path: Sequence[object]) -> Iterator[str]:
    for step in path:
        yield "/" + str(step).replace("~", "~0").replace("/", "~1")
