"""The table of routes, and the checks before each of them.

A route is a function that renders one act. Checks run in this order: token, rate, right; only then is a body
read. The act checks the right once more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import Depends, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from schemas.language import gettext
from schemas.scalars import INTEGER_MAX
from sesame.acts.acts import Actor, check
from sesame.operations.imports.acts import ImportStop
from sesame.operations.programs import tokens
from sesame.web.api import problems
from sesame.web.api.cursors import Cursors
from sesame.web.api.places import Places
from sesame.web.api.problems import ApiError
from sesame.web.api.rates import Rates
from sesame.web.api.repeats import Repeats, UnfitKey
from sesame.web.kit.guard import BodyRefused, received_whole, whole_body
from sesame.web.kit.languages import speak_for, spoken
from sesame.web.kit.site import Site

SCIM_PREFIX: Final = "/scim/v2"

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
FILE: Final = "api.jsonl"
"""What the imports of sent lines are called."""

BODY_BYTES_MAX: Final = 1_048_576
BODY_S_MAX: Final = 60.0

_ESCAPED: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
"""A character as JSON escapes it (RFC 8259, 7)."""

_BIDI: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Unicode's Bidi_Control, which make a text look like another (a file's are left out on reading)."""

Name = Annotated[str, InPath(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""A path's parameter: a student number, an id."""

ImportId = Annotated[int, InPath(ge=1, le=INTEGER_MAX)]

Endpoint = TypeVar("Endpoint", bound=Callable[..., object])


class UnusableRequest(ApiError):
    """A request has a parameter that is not known here, or a name that is given twice, or a character that no
    text has."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BodyUnread(ApiError):
    """A request's body was not read to its end: it is too large, or took too long to arrive."""

    def __init__(self, error: BodyRefused) -> None:
        super().__init__(headers={"Connection": "close"})
        self.status = HTTPStatus(error.status)


@dataclass(frozen=True)
class Route:
    """One route.

    Attributes:
        act: the name of the act that it renders.
        takes: the media types of a body that is taken as a file.
        described: further OpenAPI of it.
        answers: the class of its answers.
    """

    method: str
    path: str
    act: str
    endpoint: Callable[..., object]
    status: int
    takes: tuple[str, ...] = ()
    described: Mapping[str, Any] = field(default_factory=dict)
    answers: type[Response] = JSONResponse


def described_file(what: str, *media_types: str) -> Mapping[str, Any]:
    """A file as an answer, for OpenAPI."""
    content = {each: {"schema": {"type": "string", "format": "binary"}} for each in media_types}
    return {"responses": {"200": {"description": what, "content": content}}}


ROUTES: Final[list[Route]] = []
"""Every route, in the order of the documentation."""


def route(
    method: str,
    path: str,
    act: Callable[..., object],
    *,
    status: int = HTTPStatus.OK,
    takes: tuple[str, ...] = (),
    described: Mapping[str, Any] | None = None,
    answers: type[Response] = JSONResponse,
) -> Callable[[Endpoint], Endpoint]:
    """Let a function answer at a path; it renders this act. See `Route`."""

    def register(endpoint: Endpoint) -> Endpoint:
        made = Route(method, path, vars(act)["act"], endpoint, status, takes, described or {}, answers)
        vars(endpoint)["route"] = made
        ROUTES.append(made)
        return endpoint

    return register


@dataclass(frozen=True)
class Api:
    """The dependencies of answers."""

    site: Site
    clock: Callable[[], datetime]
    rates: Rates
    cursors: Cursors
    repeats: Repeats
    looks: Places = field(default_factory=Places)
    acts: Places = field(default_factory=Places)


@dataclass(frozen=True)
class Call:
    """One admitted request."""

    api: Api
    actor: Actor
    request: Request
    token: str = field(repr=False)

    @property
    def site(self) -> Site:
        """The site whose acts are called."""
        return self.api.site

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time, in UTC."""
        return self.api.clock

    def look_again(self) -> None:
        """Check that the token is still in force.

        Raises:
            TokenRefused: it is not.
            StoreUnavailable: that cannot be looked up.
        """
        tokens.bearer(self.site.database, self.token)

    @property
    def sent(self) -> dict[str, Any] | Path:
        """A body of JSON: one object, or the file that lines are in."""
        sent: dict[str, Any] | Path = self.request.state.sent
        return sent

    @property
    def stop(self) -> ImportStop:
        """Stops the import of that body; wanted when the connection is closed."""
        stop: ImportStop = self.request.state.stop
        return stop

    @property
    def is_single(self) -> bool:
        """Whether that is one object, and not lines."""
        return not isinstance(self.sent, Path)

    def position(self, cursor: str | None, wanted: Mapping[str, object]) -> Any:
        """The place in the list where the requested page begins; None: the first page.

        Raises `UnfitCursor`: the cursor is not of this list.
        """
        return None if cursor is None else self.api.cursors.take(self._path, wanted, cursor)

    def link_next(self, response: Response, wanted: Mapping[str, object], position: str | int | None) -> None:
        """Name the next page, if there is one (RFC 8288)."""
        if position is None:
            return
        asked = {name: value for name, value in self.request.query_params.items() if name != "cursor"}
        cursor = self.api.cursors.give(self._path, wanted, position)
        response.headers["Link"] = f'<{self._path}?{urlencode({**asked, "cursor": cursor})}>; rel="next"'

    @property
    def _path(self) -> str:
        return self.request.url.path


async def _call_of(request: Request) -> Call:
    call: Call = request.state.call
    return call


Caller = Annotated[Call, Depends(_call_of)]


class ActRoute(APIRoute):
    """Admits those who may do the act."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Make the handler of a request (FastAPI)."""
        handle = super().get_route_handler()
        route: Route = vars(self.endpoint)["route"]
        known = {field.alias for field in self.dependant.query_params}
        several = {each.alias for each in self.dependant.query_params if _is_list(each.field_info.annotation)}
        with_body = self.body_field is not None

        async def answer(request: Request) -> Response:
            api: Api = request.app.state.api
            speak_for(language_of(request, api))
            token, headers = bearer_token(request), {}
            try:
                actor = await to_thread.run_sync(tokens.bearer, api.site.database, token)
                headers = api.rates.take(actor.name)
                check(actor, route.act)
                _check_query(request, known, several)
                request.state.call = Call(api, actor, request, token)
                places = api.acts if request.method == "POST" else api.looks
                placed = partial(_placed, handle, places, actor.name)
                if route.takes:
                    response = await _with_file(request, token, api, placed, route.takes)
                elif request.method == "POST":
                    response = await _with_body(request, token, api, placed, is_json=with_body)
                else:
                    response = await placed(request)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is answered)
                response = problems.answer(error, bearer=bool(token))
            response.headers.update(headers)
            return response

        return answer


async def _placed(
    handle: Callable[[Request], Awaitable[Response]], places: Places, name: str, request: Request
) -> Response:
    async with places.one(name):
        return await handle(request)


async def _with_body(
    request: Request,
    token: str,
    api: Api,
    handle: Callable[[Request], Awaitable[Response]],
    *,
    is_json: bool,
) -> Response:
    """Answer what may change something: with its whole body, and once for each key."""
    body = await read_body(request)
    if is_json:
        check_type(request, (JSON,))
    check_text(body)
    if is_json:
        check_json(body)
    return await _once(request, token, api, handle, body)


def check_text(json_text: bytes) -> None:
    """Refuse JSON that is not UTF-8 (RFC 8259, 8.1) or has text that no store keeps.

    Raises `UnusableRequest`: a NUL, or one half of a surrogate pair.
    """
    try:
        text = json_text.decode()
        if "\\u" in text:
            plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)
            text = plain.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise UnusableRequest(gettext("a text is no Unicode")) from error
    if "\0" in text:
        raise UnusableRequest(gettext("a text has the character NUL"))


def check_json(body: bytes, *, key: Callable[[str], str] = str) -> None:
    """Refuse a JSON body with two readings.

    These are a name twice in an object, and bidirectional controls in a text. A body that is no JSON is not
    examined. `key`: two names are one if this makes the same of them. Raises `UnusableRequest`.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len({key(name) for name in found}) < len(pairs):
            [(name, _)] = Counter(key(name) for name, _ in pairs).most_common(1)
            raise UnusableRequest(gettext("the name {name!r} stands in an object twice", name=name[:64]))
        if any(isinstance(each, str) and _BIDI.search(each) for each in found.values()):
            raise UnusableRequest(gettext("a text has a bidirectional control character"))
        return found

    with suppress(ValueError, RecursionError):
        json.loads(body, object_pairs_hook=once)


async def _with_file(
    request: Request,
    token: str,
    api: Api,
    handle: Callable[[Request], Awaitable[Response]],
    takes: tuple[str, ...],
) -> Response:
    """Answer what takes one object, or a file of lines, which is written as they come."""
    with ExitStack() as stack:
        if check_type(request, takes) == JSON:
            digest = await read_body(request)  # short enough to be its own
            request.state.sent = json_object(digest)
        else:
            folder = stack.enter_context(TemporaryDirectory(prefix="sesame-api-"))
            request.state.sent = Path(folder) / FILE
            digest = await _write_lines(request.state.sent, request)
        request.state.stop = ImportStop()
        return await stopped_by_leaving(
            request, request.state.stop, _once(request, token, api, handle, digest)
        )


async def stopped_by_leaving(
    request: Request, stop: ImportStop, answer: Coroutine[Any, Any, Response]
) -> Response:
    """Answer; stop the import when the client closes the connection. The body was read before."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        stop.want()

    watching = asyncio.ensure_future(watch())
    try:
        return await answer
    finally:
        watching.cancel()


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body as a JSON object. Raises `UnusableRequest`: it is none, or has a name twice."""
    check_json(body)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnusableRequest(gettext("this is no JSON object"))
    return document


async def _write_lines(file: Path, request: Request) -> bytes:
    """Write the body, a part at a time; return its SHA-256."""
    digest = hashlib.sha256()
    with file.open("wb", buffering=0) as made:
        while True:
            try:
                async with asyncio.timeout(BODY_S_MAX):
                    message = await request.receive()
            except TimeoutError:
                raise BodyUnread(BodyRefused("this took too long to arrive", 408)) from None
            if message["type"] == "http.disconnect":  # half of it is none
                raise HTTPException(HTTPStatus.BAD_REQUEST)
            part = message.get("body", b"")
            digest.update(part)
            await to_thread.run_sync(made.write, part)
            if not message.get("more_body", False):
                return digest.digest()


async def read_body(request: Request) -> bytes:
    """Read a whole body.

    Raises:
        BodyUnread, HTTPException: it is too large, takes too long, or was cut off.
    """
    try:
        body = await whole_body(request.receive, bytes_max=BODY_BYTES_MAX, s_max=BODY_S_MAX)
    except BodyRefused as error:
        raise BodyUnread(error) from error
    if body is None:  # the client has left
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    return body


def check_type(request: Request, takes: tuple[str, ...]) -> str:
    """The media type of a body. Raises HTTPException 415: it is none of these."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in takes:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, headers={"Accept-Post": ", ".join(takes)})
    return kind


async def _once(
    request: Request,
    token: str,
    api: Api,
    handle: Callable[[Request], Awaitable[Response]],
    body: bytes,
) -> Response:
    """Answer, and only once for each key."""
    whole = Request(request.scope, received_whole(body, request.receive))
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return await handle(whole)
    if len(keys) > 1:
        raise UnfitKey(gettext("the header is given twice"))
    [key] = keys
    asked: list[str | bytes] = [request.method, request.url.path, request.url.query, body]
    return await api.repeats.answered(key, token, asked, lambda: handle(whole))


def language_of(request: Request, api: Api) -> Any:
    """The language of an answer: the requested one, else the site's."""
    accepted = request.headers.get("accept-language")
    return spoken(None, accepted) if accepted is not None else api.site.settings.language or "en"


def bearer_token(request: Request) -> str:
    """The bearer token of the `Authorization` header and nowhere else (RFC 6750, 2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_list(annotation: object) -> bool:
    return any(get_origin(each) is list for each in (annotation, *get_args(annotation)))


def _check_query(request: Request, known: set[str], several: set[str]) -> None:
    """Refuse unknown and repeated query parameters.

    An unknown filter would show every student; of a repeated one only one value would count.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in sorted(given.items()):
        if name not in known:
            raise UnusableRequest(gettext("there is no parameter {name!r}", name=name[:64]))
        if count > 1 and name not in several:
            raise UnusableRequest(gettext("the parameter {name!r} is given twice", name=name))
    if "\0" in request.scope["path"] or any("\0" in value for value in request.query_params.values()):
        raise UnusableRequest(gettext("a text has the character NUL"))
