"""One request: the browser's language, session and form, and the answering pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from sesame.web.kit.addresses import Ip, client_address
from sesame.web.kit.languages import spoken
from sesame.web.kit.web_request import PageError, WebRequest, cookie
from sesame.web.students.portal_context import PortalContext
from sesame.web.students.web_sessions import WebSession

LANGUAGE, SESSION, REQUEST, GRANT = "langue", "session", "demande", "preuve"
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
"""The page with the form, by the form's path, for paths without a page."""

MONTH_S: Final = 30 * 86_400


@dataclass
class PortalRequest(WebRequest[PortalContext]):
    """One request, of the address and the session."""

    address: Ip
    session: WebSession | None = None

    @property
    def student(self) -> str:
        """The session's student, for their acts and what only they may see.

        Raises `PageError`: no session, or one that only shows; the page explains how to come in.
        """
        number = self.shown
        if self.owner is None:
            raise PageError(403, "view")
        return number

    @property
    def shown(self) -> str:
        """The student whose account may be looked at.

        Raises `PageError`: there is none; the page explains how to come in.
        """
        if self.session is None:
            raise PageError(401, "session")
        return self.session.student_number

    @property
    def owner(self) -> str | None:
        """The student who has proved their identity. None: no session, or the support desk's link."""
        return self.session.student_number if self.session is not None and self.session.acts else None

    def again(self) -> str | None:
        """The session's student, read again; None: it has ended."""
        session = self.context.session(self.cookie(SESSION), self.cookie(CAS_SESSION))
        return None if session is None else session.student_number

    def slow_down(self, own: str | None = None) -> None:
        """Count this form; `own` as `PortalContext.slow_down`.

        Raises `PageError`: there were too many from this address.
        """
        wait_s = self.context.slow_down(self.address, own)
        if wait_s:
            raise PageError(429, "slow", retry_after_s=wait_s)

    def render(self, template: str, **context: Any) -> str:
        """See `WebRequest.render`. `path`: where it may be requested again, if not here."""
        return self.context.pages.render(
            template,
            self.language,
            form_token=self.form_token,
            session=self.session,
            cas=self.context.cas is not None,
            **{"student": None, "path": self._here(), **context},
        )

    def _here(self) -> str:
        """The path where a browser may GET this page: in another language, or on return."""
        path = self.request.url.path
        return path if self.request.method == "GET" else SHOWN_AT.get(path, path)

    def leave(self) -> None:
        """End the session, here and in the store."""
        self.context.end_session(self.cookie(SESSION))
        if self.context.cas is not None and (token := self.cookie(CAS_SESSION)):
            self.context.cas.logins.leave(token)
        for name in (SESSION, CAS_SESSION, GRANT, REQUEST):
            self.drop(name)


def visit_of(request: Request) -> PortalRequest:
    """This request."""
    context: PortalContext = request.app.state.context
    peer = request.client.host if request.client is not None else None
    address = client_address(peer, request.headers.getlist("x-forwarded-for"), context.proxies)
    language = spoken(cookie(request, LANGUAGE), request.headers.get("accept-language", ""))
    visit = PortalRequest(request, context, language, address)
    visit.session = context.session(visit.cookie(SESSION), visit.cookie(CAS_SESSION))
    return visit


Visiting = Annotated[PortalRequest, Depends(visit_of)]
