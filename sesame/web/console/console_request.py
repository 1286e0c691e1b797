"""One request at the console: session, actor, and the answering pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import Response

from schemas.language import spoken
from sesame.acts.acts import Actor, Role, may
from sesame.login.cas_sessions import CasSession
from sesame.web.console.console_context import GLANCE_S, ConsoleContext
from sesame.web.console.tables import SORTED_MAX, as_csv, sorted_rows
from sesame.web.kit import signatures
from sesame.web.kit.web_request import PageError, WebRequest, attachment

LANGUAGE, SESSION, DEPARTURE = "console-langue", "console", "console-depart"
"""Names of cookies; unlike the students' pages', as browsers do not keep cookies apart by port."""

HOME: Final = "/console/"
PAGE: Final = 50
_PLACES: Final = frozenset({"apres", "avant", "csv", "fait", "tri"})
_Row = TypeVar("_Row")
_TOLD_S: Final = 3600.0
_TOLD_MAX, _TOLD_LINES_MAX = 300, 30


class NotLoggedIn(Exception):
    """No session: who only looks is sent to log in, and back."""


@dataclass
class ConsoleRequest(WebRequest[ConsoleContext]):
    """One request; `session` is None without a login."""

    session: CasSession | None = None

    @property
    def actor(self) -> Actor:
        """The actor, by the CAS server's name in one spelling, however it was typed.

        Otherwise one person could count as the two whom a release may require.
        """
        if self.session is None:
            return Actor("", frozenset())
        roles = frozenset(Role(role) for role in self.session.roles if role in list(Role))
        return Actor(self.session.login.casefold(), roles)

    def render(self, template: str, **context: Any) -> str:
        """See `WebRequest.render`."""
        actor = self.actor
        return self.context.pages.render(
            template,
            self.language,
            actor=actor,
            may=lambda act: may(actor, act),
            form_token=self.form_token,
            here=self.request.url.path,
            page=page_of(self.request),
            query=self.request.query_params.get("q", ""),
            tri=self.order,
            sorted_max=SORTED_MAX,
            link=self._link,
            counts=self._counts,
            told=self._told(),
            **context,
        )

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Answer with a page, or with its table as a file where that is requested."""
        if status != 200 or "csv" not in self.request.query_params:  # noqa: PLR2004
            return super().page(template, status, **context)
        name = re.sub(r"[^a-z0-9_-]", "", self.request.url.path.rpartition("/")[2].lower())
        named = attachment(f"{name or 'table'}.csv")
        text = as_csv(self.render(template, **context))
        return self.carry(Response(text, media_type="text/csv; charset=utf-8", headers=named))

    @property
    def order(self) -> str:
        """The column that sorts the table, `-` before it: downwards; empty: as the list is."""
        return self.request.query_params.get("tri", "")

    @property
    def rows_max(self) -> int:
        """Rows of a table's page: a sorted one has all, within a bound."""
        return SORTED_MAX if self.order else PAGE

    def ordered(self, rows: Iterable[_Row], **keys: Callable[[_Row], Any]) -> list[_Row]:
        """Rows in the order of the requested column."""
        return sorted_rows(rows, self.order, keys)

    def _link(self, **changes: str) -> str:
        """This page with another order, or as a file: the place in the list stays only for the file."""
        kept = _PLACES if "tri" in changes else {"csv", "fait"}
        asked = [(name, value) for name, value in self.request.query_params.multi_items() if name not in kept]
        return f"{self.request.url.path}?{urlencode([*asked, *changes.items()])}"

    def _counts(self) -> Mapping[str, int]:
        seen = self.context.overview.show(self.actor, age_s_max=GLANCE_S)
        return {"failures": seen.dead_letters, "waiting": seen.waiting}

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


def page_of(request: Request) -> str:
    """The requested page, as a link has it."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def anybody(request: Request) -> ConsoleRequest:
    """A request of any visitor."""
    visit = ConsoleRequest(request, request.app.state.context, spoken())
    token = visit.cookie(SESSION)
    visit.session = visit.context.logins.session(token) if token else None
    return visit


def somebody(request: Request) -> ConsoleRequest:
    """A request of a person with a role. Raises `NotLoggedIn`; `PageError`: the person has no role."""
    visit = anybody(request)
    if visit.session is None:
        raise NotLoggedIn
    if not visit.actor.roles:
        raise PageError(403, "no_role")
    return visit


Anybody = Annotated[ConsoleRequest, Depends(anybody)]
Visiting = Annotated[ConsoleRequest, Depends(somebody)]
