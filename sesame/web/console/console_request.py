"""One request at the console: browser, session, actor, and the answering pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from schemas.language import Language, spoken
from sesame.acts.acts import Actor, Role, may
from sesame.login.cas_sessions import CasSession
from sesame.web.console.console_context import GLANCE_S, ConsoleContext
from sesame.web.kit import signatures
from sesame.web.kit.forms import FORM_TOKEN, Kept, cookie_name, fields_of, keep

BROWSER, LANGUAGE, SESSION, DEPARTURE = "console-navigateur", "console-langue", "console", "console-depart"
"""Names of cookies, which a browser does not keep apart by port: others than the students' pages'."""

HOME: Final = "/console/"
_TOLD_S: Final = 3600.0
_TOLD_MAX, _TOLD_LINES_MAX = 300, 30


class ConsoleRefusal(Exception):
    """A request ends with a page that says why.

    Args:
        what: which text the page has: a token of `refused.html`.
    """

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status
        self.what = what


class NotLoggedIn(Exception):
    """Nobody's session: who only looks is sent to log in, and back."""


@dataclass
class ConsoleRequest:
    """One request, and what its answer will carry.

    `session` is None without a login.
    """

    request: Request
    context: ConsoleContext
    language: Language
    browser: str
    session: CasSession | None
    _cookies: list[Kept] = field(default_factory=list)

    # --- what it brings ---

    def cookie(self, name: str) -> str | None:
        """The cookie of this name."""
        return self.request.cookies.get(_full(name, self.context))

    @property
    def actor(self) -> Actor:
        """The actor, by the CAS server's name in one spelling, however it was typed.

        Otherwise one person could count as the two whom a release may require.
        """
        if self.session is None:
            return Actor("", frozenset())
        roles = frozenset(Role(role) for role in self.session.roles if role in list(Role))
        return Actor(self.session.login.casefold(), roles)

    # --- what it gets ---

    def keep(self, name: str, value: str, *, age_s: int | None = None) -> None:
        """Set a cookie.

        Without an age it lasts until the browser is closed; age 0 deletes it.
        """
        self._cookies.append((name, value, age_s))

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Answer with a page."""
        return self.carry(HTMLResponse(self.render(template, **context), status_code=status))

    def render(self, template: str, **context: Any) -> str:
        """The text of a page, or of a part of one."""
        actor = self.actor
        return self.context.pages.render(
            template,
            self.language,
            actor=actor,
            may=lambda act: may(actor, act),
            form_token=self.context.signing.form_token(self.browser),
            here=self.request.url.path,
            page=page_of(self.request),
            query=self.request.query_params.get("q", ""),
            counts=self._counts,
            told=self._told(),
            **context,
        )

    def _counts(self) -> Mapping[str, int]:
        """The numbers that the navigation shows."""
        seen = self.context.overview.show(self.actor, age_s_max=GLANCE_S)
        return {"failures": seen.dead_letters, "waiting": seen.waiting}

    def to(self, path: str, **query: str) -> Response:
        """Answer by sending the browser to another page (303: it asks for it by GET)."""
        where = f"{path}?{urlencode(query)}" if query else path
        return self.carry(RedirectResponse(where, status_code=303))

    def done(self, path: str, *told: str) -> Response:
        """Redirect to a page that shows the act's result.

        The result is in the address, signed, and kept nowhere: another process may show the page.
        """
        lines = [line[:_TOLD_MAX] for line in told][:_TOLD_LINES_MAX]
        return self.to(path, fait=self.context.signing.sign(signatures.TOLD, [self.actor.name, *lines]))

    def _told(self) -> Sequence[str]:
        """The result of an act, for its actor."""
        text = self.request.query_params.get("fait", "")
        found = self.context.signing.read(signatures.TOLD, text, age_s_max=_TOLD_S)
        return found[1:] if found and found[0] == self.actor.name else ()

    def carry(self, response: Response) -> Response:
        """Let an answer set what the browser is to keep."""
        keep(response, self._cookies, secure=self.context.site.settings.console.secure)
        return response


def page_of(request: Request) -> str:
    """The requested page, as a link has it."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def utc_now() -> datetime:
    """The current time, in UTC; acts are requested with it."""
    return datetime.now(UTC)


def _full(name: str, context: ConsoleContext) -> str:
    return cookie_name(name, secure=context.site.settings.console.secure)


def anybody(request: Request) -> ConsoleRequest:
    """A request of any visitor."""
    context: ConsoleContext = request.app.state.context
    cookies = request.cookies
    token = cookies.get(_full(SESSION, context))
    session = context.logins.session(token) if token else None
    browser = cookies.get(_full(BROWSER, context), "")
    visit = ConsoleRequest(request, context, spoken(), browser, session)
    if not browser:
        visit.browser = context.signing.new_browser()
        visit.keep(BROWSER, visit.browser)
    return visit


def somebody(request: Request) -> ConsoleRequest:
    """A request of a person with a role.

    Raises:
        NotLoggedIn: there is no login.
        ConsoleRefusal: the person has no role.
    """
    visit = anybody(request)
    if visit.session is None:
        raise NotLoggedIn
    if not visit.actor.roles:
        raise ConsoleRefusal(403, "no_role")
    return visit


async def posted(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        ConsoleRefusal: it is not text, or was not made by a page of ours for this browser.
    """
    body = await request.body()  # of a size and within a time that the guard has seen to
    try:
        fields = fields_of(body)
    except ValueError as error:
        raise ConsoleRefusal(400, "form") from error
    form_is_ours(request, fields.pop(FORM_TOKEN, ""))
    return fields


def form_is_ours(request: Request, token: str) -> None:
    """Make sure that a page of ours made a form for this browser.

    Raises:
        ConsoleRefusal: none did.
    """
    context: ConsoleContext = request.app.state.context
    browser = request.cookies.get(_full(BROWSER, context), "")
    if not context.signing.is_form_token(browser, token):
        raise ConsoleRefusal(403, "form")


Anybody = Annotated[ConsoleRequest, Depends(anybody)]
Visiting = Annotated[ConsoleRequest, Depends(somebody)]
Posted = Annotated[dict[str, str], Depends(posted)]
