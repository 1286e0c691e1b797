"""One request: the browser's language, session and form, and the answering pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from schemas.language import Language
from sesame.web.kit.addresses import Ip, client_address
from sesame.web.kit.forms import FORM_TOKEN, Kept, cookie_name, fields_of, keep
from sesame.web.kit.languages import spoken
from sesame.web.kit.signatures import FORM
from sesame.web.students.portal_context import PortalContext
from sesame.web.students.web_sessions import WebSession

BROWSER, LANGUAGE, SESSION, REQUEST, GRANT = "navigateur", "langue", "session", "demande", "preuve"
CAS_SESSION, DEPARTURE = "cas", "depart"
SHOWN_AT: Final = {
    "/compte/redirection": "/compte",
    "/compte/redirection/fin": "/compte",
    "/compte/reessayer": "/compte",
    "/compte/ouvrir": "/mot-de-passe",
    "/renvoyer": "/code",
    **dict.fromkeys(
        (
            "/lien",
            "/lien/nouveau",
            "/redirection",
            "/prolongation",
            "/acces",
            "/deconnexion",
            "/deconnexion/cas",
        ),
        "/",
    ),
}
"""For forms posted to a path without a page: the path of the page that has the form."""

MONTH_S: Final = 30 * 86_400


class PageError(Exception):
    """A request ends with a page that says why.

    Args:
        what: which text the page has: a token of `error.html`.
        retry_after_s: for a slow-down.
    """

    def __init__(self, status: int, what: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.retry_after_s = retry_after_s


@dataclass
class PortalRequest:
    """One request, and what its answer will carry."""

    request: Request
    context: PortalContext
    language: Language
    address: Ip
    session: WebSession | None
    browser: str
    _cookies: list[Kept] = field(default_factory=list)

    # --- what it brings ---

    def cookie(self, name: str) -> str | None:
        """The cookie of this name."""
        return self.request.cookies.get(_full(name, self.context))

    @property
    def student(self) -> str:
        """The session's student, for their acts and what only they may see.

        Raises:
            PageError: there is no session, or one that only shows: the page says how to come in.
        """
        number = self.shown
        if self.owner is None:
            raise PageError(403, "view")
        return number

    @property
    def shown(self) -> str:
        """The student whose account may be looked at.

        Raises:
            PageError: there is none: the page says how to come in.
        """
        if self.session is None:
            raise PageError(401, "session")
        return self.session.student_number

    @property
    def owner(self) -> str | None:
        """The student who has proved their identity.

        None: no session, or a link of the support desk.
        """
        return self.session.student_number if self.session is not None and self.session.acts else None

    def again(self) -> str | None:
        """The session's student, read again; None: it has ended."""
        session = self.context.session(self.cookie(SESSION), self.cookie(CAS_SESSION))
        return None if session is None else session.student_number

    def slow_down(self, own: str | None = None) -> None:
        """Count this form; `own` as `Desk.slow_down`.

        Raises:
            PageError: there were too many from this address.
        """
        wait_s = self.context.slow_down(self.address, own)
        if wait_s:
            raise PageError(429, "slow", retry_after_s=wait_s)

    # --- what it gets ---

    def keep(self, name: str, value: str, *, age_s: int | None = None) -> None:
        """Let the browser keep this; without an age until it is closed."""
        self._cookies.append((name, value, age_s))

    def drop(self, name: str) -> None:
        """Let the browser forget this."""
        self._cookies.append((name, "", 0))

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Answer with a page."""
        text = self.render(template, **context)
        return self.carry(HTMLResponse(text, status_code=status))

    def render(self, template: str, **context: Any) -> str:
        """Render a page, or a part of one.

        Args:
            path: where it may be requested again, if not here.
        """
        return self.context.pages.render(
            template,
            self.language,
            form_token=self.context.signing.form_token(self.browser),
            session=self.session,
            cas=self.context.cas is not None,
            **{"student": None, "path": self._here(), **context},
        )

    def _here(self) -> str:
        """The path where a browser may GET this page: in another language, or on return."""
        path = self.request.url.path
        return path if self.request.method == "GET" else SHOWN_AT.get(path, path)

    def to(self, path: str) -> Response:
        """Answer by sending the browser to another page (303: it asks for it by GET)."""
        return self.carry(RedirectResponse(path, status_code=303))

    def leave(self) -> None:
        """End the session, here and in the store."""
        self.context.end_session(self.cookie(SESSION))
        if self.context.cas is not None and (token := self.cookie(CAS_SESSION)):
            self.context.cas.logins.leave(token)
        for name in (SESSION, CAS_SESSION, GRANT, REQUEST):
            self.drop(name)

    def carry(self, response: Response) -> Response:
        """Let an answer set what the browser is to keep."""
        keep(response, self._cookies, secure=self.context.settings.portal.secure)
        return response


def _full(name: str, context: PortalContext) -> str:
    return cookie_name(name, secure=context.settings.portal.secure)


def visit_of(request: Request) -> PortalRequest:
    """This request."""
    context: PortalContext = request.app.state.context
    peer = request.client.host if request.client is not None else None
    address = client_address(peer, request.headers.getlist("x-forwarded-for"), context.proxies)
    cookies = request.cookies
    language = spoken(cookies.get(_full(LANGUAGE, context)), request.headers.get("accept-language", ""))
    session = context.session(cookies.get(_full(SESSION, context)), cookies.get(_full(CAS_SESSION, context)))
    browser = cookies.get(_full(BROWSER, context), "")
    visit = PortalRequest(request, context, language, address, session, browser)
    if not browser:
        visit.browser = context.signing.new_browser()
        visit.keep(BROWSER, visit.browser)
    return visit


async def posted(request: Request) -> dict[str, str]:
    """The fields of a form; of a field that comes twice the last one.

    Raises:
        PageError: it is not text, or was not made by a page of ours for this browser.
    """
    body = await request.body()  # of a size and within a time that the guard has seen to
    try:
        fields = fields_of(body)
    except ValueError as error:
        raise PageError(400, "form") from error
    context: PortalContext = request.app.state.context
    browser = request.cookies.get(_full(BROWSER, context), "")
    if not context.signing.is_form_token(browser, fields.pop(FORM_TOKEN, "")):
        raise PageError(403, FORM)
    return fields


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


Visiting = Annotated[PortalRequest, Depends(visit_of)]
Posted = Annotated[dict[str, str], Depends(posted)]
