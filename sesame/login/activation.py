"""Activates one account on the students' pages, as a browser does."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import requests

from pipeline.errors import TargetDown
from schemas.language import gettext
from sesame.login.client import BoundedSession
from sesame.login.form import form_to

_TIMEOUT_S = (3.0, 15.0)  # to connect; for an answer, of which a password's hash is a part
_LETTER, _PASSWORD, _ACCOUNT, _LEAVE = "/lettre", "/mot-de-passe", "/compte", "/deconnexion"


class StudentPages:
    """The students' pages at this address. `ca_file`: verifies their certificate; None: the system's."""

    def __init__(self, origin: str, ca_file: Path | None = None) -> None:
        self._origin = origin.rstrip("/")
        self._verify = True if ca_file is None else str(ca_file)

    def activate(self, code: str, password: str) -> None:
        """Choose a password by a letter's code, and accept the charter. Look at the account, and log out.

        Raises:
            TargetDown: a page cannot be had, or refuses; the message says which.
        """
        with BoundedSession(verify=self._verify, timeout_s=_TIMEOUT_S) as session:
            self._send(session, _LETTER, _PASSWORD, code=code)
            self._send(
                session, _PASSWORD, _ACCOUNT, mot_de_passe=password, confirmation=password, charte="oui"
            )
            page = self._page(session, "GET", _ACCOUNT).text
            if (form := form_to(page, _LEAVE)) is not None:
                self._page(session, "POST", _LEAVE, form.hidden)

    def _send(self, session: BoundedSession, path: str, leads_to: str, **given: str) -> None:
        """Fill in a page's form, which must lead to the next page."""
        form = form_to(self._page(session, "GET", path).text, path)
        if form is None:
            raise TargetDown(gettext("{url} has no form", url=self._origin + path), unknown=False)
        answer = self._page(session, "POST", path, form.hidden | given)
        if not answer.headers.get("Location", "").startswith(leads_to):
            raise TargetDown(
                gettext("{url} does not lead to {path}", url=self._origin + path, path=leads_to),
                unknown=False,
            )

    def _page(
        self, session: BoundedSession, method: str, path: str, form: dict[str, str] | None = None
    ) -> requests.Response:
        url = self._origin + path
        session.accepted = {HTTPStatus.OK if form is None else HTTPStatus.SEE_OTHER}
        try:
            return session.request(method, url, data=form)
        except requests.HTTPError as error:
            raise TargetDown(gettext("{url} answers {what}", url=url, what=error), unknown=False) from error
        except requests.RequestException as error:
            what = type(error).__name__
            raise TargetDown(
                gettext("{url} gives no answer: {what}", url=url, what=what), unknown=False
            ) from error
