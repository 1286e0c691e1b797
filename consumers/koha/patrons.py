"""Koha's calls, and what its answers mean. Of its texts only those without a person's data are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from consumers.kit.connector import ConnectorContext, Held, Refused
from consumers.kit.deadline import Deadline
from consumers.kit.http import HttpClient
from consumers.kit.http_answers import HttpAnswer
from consumers.koha.settings import KohaSettings
from pipeline.errors import Misconfigured, TargetDown

Patron = dict[str, Any]

PAGE: Final = 100
NOT_SENT: Final = ("patron_id", "restricted", "expired", "anonymized", "updated_on")  # Koha refuses these
_SETUP: Final = re.compile(r"Given \w+ does not exist|Missing mandatory extended attribute \(type=\w+\)")


class Patrons:
    """The patrons of one Koha. Thread-safe."""

    def __init__(self, context: ConnectorContext[KohaSettings]) -> None:
        self._settings = context.settings
        self.http = HttpClient(context, self._settings.url)

    def all(self, query: Mapping[str, object], deadline: Deadline | None = None) -> Iterator[Patron]:
        """Those that meet a `q`, in the order of their ids: no change meanwhile hides one."""
        after, total = 0, PAGE + 1
        while total > PAGE:
            page, total = self._page({**query, "patron_id": {">": after}}, "+patron_id", PAGE, deadline)
            yield from page
            after = page[-1]["patron_id"] if page else after

    def newest(self) -> tuple[str, int]:
        """When a patron last changed, by Koha's clock, and how many there are. Empty: none is."""
        page, total = self._page({}, "-updated_on", 1, None)
        return page[0]["updated_on"] if page else "", total

    def _page(self, query: Any, order: str, size: int, deadline: Deadline | None) -> tuple[list[Patron], int]:
        """The first page, and how many there are in all. Raises TargetDown: the page is cut."""
        params = {"q": json.dumps(query), "_order_by": order, "_page": "1", "_per_page": str(size)}
        deadline = deadline or Deadline.after(self._settings.call_s_max)
        answer = self.http.call("GET", "/patrons", deadline, params=params)
        page, total = _shown(answer), answer.headers.get("x-total-count", "")
        if not total.isdecimal() or len(page) != min(int(total), size):
            raise TargetDown("the service shows fewer patrons than its X-Total-Count", unknown=False)
        return page, int(total)

    def one(self, ref: str, deadline: Deadline) -> Patron | None:
        """The patron as it is now; None: it is gone."""
        answer = self.http.call("GET", f"/patrons/{ref}", deadline)
        return None if answer.status == HTTPStatus.NOT_FOUND else _shown(answer)[0]

    def write(self, patron: Patron, deadline: Deadline) -> Refused | None:
        """Make a patron, or replace the one of its `patron_id`. Koha empties what is left out."""
        ref = patron.get("patron_id")
        method, path = ("PUT", f"/patrons/{ref}") if ref else ("POST", "/patrons")
        body = {name: value for name, value in patron.items() if name not in NOT_SENT}
        return _refusal(self.http.call(method, path, deadline, body=body, expect=(HTTPStatus.FORBIDDEN,)))

    def delete(self, ref: str, deadline: Deadline) -> Held | Refused | None:
        """Delete a patron. Koha keeps one with loans or debts whole."""
        answer = self.http.call("DELETE", f"/patrons/{ref}", deadline)
        if answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return None
        if answer.status != HTTPStatus.CONFLICT:
            return Refused("koha_error", f"Koha answers {answer.status} to a deletion", unknown=True)
        if answer.json().get("error_code") in ("has_checkouts", "has_debt"):
            return Held("koha_loans")
        return Refused("koha_refused", "Koha keeps a protected patron, or a guarantor (409)", lasting=True)


def _shown(answer: HttpAnswer) -> list[Patron]:
    found: Any = answer.json() if answer.status == HTTPStatus.OK else None
    patrons = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) and "patron_id" in each for each in patrons):
        raise TargetDown(f"the service answers {answer.status}, and shows no patron", unknown=False)
    if not all(each["updated_on"] for each in patrons):  # emptied: sent back, it would empty the patron
        remedy = "Give Sésame's patron the permission view_borrower_infos_from_any_libraries."
        raise Misconfigured("Koha hides what is in patrons of some libraries", remedy=remedy)
    return patrons


def _refusal(answer: HttpAnswer) -> Refused | None:
    """What the answer to a write means. A success shows the patron, or is 204: nothing differed."""
    if answer.status == HTTPStatus.NO_CONTENT or (answer.ok and "patron_id" in answer.json()):
        return None
    said = answer.json()
    if answer.status == HTTPStatus.CONFLICT:
        return Refused("koha_taken", "another patron has the number or the login (409)", lasting=True)
    if answer.status == HTTPStatus.FORBIDDEN and "required_permissions" in said:
        raise Misconfigured("we may not write patrons (403)", remedy="Give Sésame's patron edit_borrowers.")
    if answer.status == HTTPStatus.FORBIDDEN:
        return Refused("koha_refused", "only a superlibrarian may write this patron (403)", lasting=True)
    if answer.status == HTTPStatus.BAD_REQUEST:
        named = _SETUP.search(str(said.get("error")))
        return Refused("koha_refused", named[0] if named else "Koha answers 400", lasting=True)
    return Refused("koha_error", f"Koha answers {answer.status}, and shows no patron", unknown=True)
