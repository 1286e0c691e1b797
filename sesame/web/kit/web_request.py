"""A browser's request: its cookies, its form, and the answering pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar
from urllib.parse import parse_qs, parse_qsl, urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from schemas.language import Language
from sesame.web.kit.signatures import Signing

FORM_TOKEN: Final = "jeton"  # noqa: S105 - the field's name
FIELDS_MAX: Final = 60


class WebContext(Protocol):
    """The shared context of an application's pages.

    Attributes:
        signing: signs what browsers keep.
        secure: whether browsers come by HTTPS.
        browser_cookie: the cookie that recognises a browser.
    """

    signing: Signing
    secure: bool
    browser_cookie: str


ContextT = TypeVar("ContextT", bound=WebContext)


class PageError(Exception):
    """A request ends with a page that says why.

    Args:
        what: which text the page has: a token of its template.
        retry_after_s: for a slow-down.
    """

    def __init__(self, status: int, what: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.retry_after_s = retry_after_s


@dataclass
class WebRequest(ABC, Generic[ContextT]):
    """One request, and what its answer will carry."""

    request: Request
    context: ContextT
    language: Language
    _cookies: list[tuple[str, str, int | None]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.browser = self.cookie(self.context.browser_cookie) or ""
        if not self.browser:
            self.browser = self.context.signing.new_browser()
            self.keep(self.context.browser_cookie, self.browser)

    def cookie(self, name: str) -> str | None:
        """The cookie of this name."""
        return cookie(self.request, name)

    def keep(self, name: str, value: str, *, age_s: int | None = None) -> None:
        """Set a cookie; without an age it lasts until the browser is closed."""
        self._cookies.append((name, value, age_s))

    def drop(self, name: str) -> None:
        """Let the browser forget a cookie."""
        self.keep(name, "", age_s=0)

    @abstractmethod
    def render(self, template: str, **context: Any) -> str:
        """The text of a page, or of a part of one."""

    @property
    def form_token(self) -> str:
        """The token of this browser's forms."""
        return self.context.signing.form_token(self.browser)

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Answer with a page."""
        return self.carry(HTMLResponse(self.render(template, **context), status_code=status))

    def to(self, path: str, **query: str) -> Response:
        """Send the browser to another page (303: it asks for it by GET)."""
        where = f"{path}?{urlencode(query)}" if query else path
        return self.carry(RedirectResponse(where, status_code=303))

    def carry(self, response: Response) -> Response:
        """Let an answer set our cookies, for us alone."""
        secure = self.context.secure
        for name, value, age_s in self._cookies:
            response.set_cookie(
                cookie_name(name, secure=secure),
                value,
                max_age=age_s,
                secure=secure,
                httponly=True,
                samesite="lax",
                path="/",
            )
        return response


def cookie_name(name: str, *, secure: bool) -> str:
    """The cookie's name. `__Host-` binds it to this host and HTTPS (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{name}" if secure else name


def cookie(request: Request, name: str) -> str | None:
    """A request's cookie of this name."""
    context: WebContext = request.app.state.context
    return request.cookies.get(cookie_name(name, secure=context.secure))


async def logout_notice(request: Request) -> bytes:
    """The CAS server's notice that a person has logged out."""
    body = await request.body()  # the guard has limited its size and its time
    return parse_qs(body.decode("utf-8", "replace")).get("logoutRequest", [""])[0].encode()


async def posted(request: Request) -> dict[str, str]:
    """The fields of a form; of a field that comes twice the last one.

    Raises:
        PageError: it is not text, or was not made by a page of ours for this browser.
    """
    body = await request.body()  # the guard has limited its size and its time
    try:
        text = body.decode("ascii")
        fields = dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise PageError(400, "form") from error
    form_is_ours(request, fields.pop(FORM_TOKEN, ""))
    return fields


def form_is_ours(request: Request, token: str) -> None:
    """Check that a page of ours made this form for this browser. Raises `PageError`."""
    context: WebContext = request.app.state.context
    if not context.signing.is_form_token(cookie(request, context.browser_cookie) or "", token):
        raise PageError(403, "form")


def attachment(name: str) -> dict[str, str]:
    """The header of an answer that a browser keeps as a file (RFC 6266)."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def utc_now() -> datetime:
    """The current time, in UTC; acts are requested with it."""
    return datetime.now(UTC)


Posted = Annotated[dict[str, str], Depends(posted)]
