"""What came of requests that were accepted: told to the receivers that listen for it (RFC 9967, 2.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from consumers.webhooks import rows as webhooks
from consumers.webhooks.settings import ASYNC_ANSWER
from pipeline.errors import SesameError
from producers.registrar import accepted_requests, external_ids
from producers.registrar.accepted_requests import AcceptedRequest
from sesame.operations.person_facts import (
    PersonInDoubt,
    PersonRejected,
    PersonUnderWay,
    is_applied,
    is_held_as_asked,
)
from sesame.operations.ports import Configured, HasSettings
from sesame.operations.registered_persons import RegisteredPerson, find
from sesame.operations.sent_persons import why_not_shown

WAITED_S_MAX: Final = 3 * 86_400.0
"""What the registry has not applied by then is answered by that."""

_PAGE: Final = 100

Outcome = RegisteredPerson | SesameError | None
"""How the person stands, or why they do not; None: they were ended."""


def listeners(site: HasSettings) -> list[str]:
    """The receivers that are told what came of a request."""
    receivers = site.settings.webhooks.receivers.items()
    return [name for name, each in receivers if ASYNC_ANSWER in each.types]


def tell(
    site: Configured, answer: Callable[[AcceptedRequest, Outcome], Mapping[str, Any]], *, after: str = ""
) -> str:
    """Look at some accepted requests after this one, and tell of those that are done, or will not be.

    Of several processes one tells it, in the transaction that ends the request.

    Returns:
        After which one to go on; empty: with the first one, in a while.

    Raises:
        StoreUnavailable: look again.
    """
    database = site.database
    with database.read() as connection:
        now = database.now(connection)
        page = accepted_requests.page(connection, after=after, limit=_PAGE)
    for request in page:
        try:
            came = _came_of(site, request, now)
        except PersonUnderWay:
            continue
        forget = isinstance(came, SesameError) and find(database, request.student_number) is None
        database.transact(partial(_note, site, request, answer(request, came), now, forget=forget))
    return page[-1].txn if len(page) == _PAGE else ""


def _came_of(site: Configured, request: AcceptedRequest, now: float) -> Outcome:
    """What came of it.

    Raises:
        PersonUnderWay: nothing yet.
    """
    database, number = site.database, request.student_number
    try:
        if not is_applied(database, number, request.steps) or (
            request.changes_hold and not is_held_as_asked(database, number)
        ):
            if now - request.accepted_at < WAITED_S_MAX:
                raise PersonUnderWay
            return PersonUnderWay()
    except (PersonInDoubt, PersonRejected) as error:
        return error
    if request.method == "DELETE":
        return None
    return find(database, number) or why_not_shown(database, number)


def _note(
    site: Configured,
    request: AcceptedRequest,
    answer: Mapping[str, Any],
    now: float,
    connection: Connection,
    *,
    forget: bool,
) -> None:
    if not accepted_requests.end(connection, request.txn):
        return
    number = request.student_number
    if forget:
        external_ids.forget(connection, number)  # so that the same may be sent again
    webhooks.add_answer(
        connection, site.database, listeners(site), number, {"txn": request.txn, "answer": answer}, now
    )
