"""Notify subscribed receivers of accepted requests' outcomes (RFC 9967, 2.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from consumers.webhooks import rows as webhooks
from consumers.webhooks.settings import ASYNC_ANSWER
from pipeline.errors import SesameError
from producers.registrar import accepted_requests, external_ids
from producers.registrar.accepted_requests import AcceptedRequest
from sesame.acts.ports import Configured, HasSettings
from sesame.operations.programs.person_facts import (
    PersonInDoubt,
    PersonRejected,
    PersonUnderWay,
    is_applied,
    is_held_as_asked,
)
from sesame.operations.programs.registered_persons import RegisteredPerson, find
from sesame.operations.programs.sent_persons import why_not_shown

WAITED_S_MAX: Final = 3 * 86_400.0
"""A request that the registry has not applied by then is answered as failed."""

_PAGE: Final = 100

Outcome = RegisteredPerson | SesameError | None
"""The person as registered, or the error; None: the person was ended."""


def listeners(site: HasSettings) -> list[str]:
    """The receivers that are notified of a request's outcome."""
    receivers = site.settings.webhooks.receivers.items()
    return [name for name, each in receivers if ASYNC_ANSWER in each.types]


def waiting(site: Configured) -> Iterator[AcceptedRequest]:
    """The requests that are not answered yet. Raises `StoreUnavailable`: retry."""
    after = ""
    while True:
        with site.database.read() as connection:
            page = accepted_requests.page(connection, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].txn


def tell(
    site: Configured,
    request: AcceptedRequest,
    answer: Callable[[AcceptedRequest, Outcome], Mapping[str, Any]],
) -> None:
    """Publish a request's outcome, once it is done or has failed.

    Of several processes one publishes it, in the transaction that ends the request. Raises
    `StoreUnavailable`: retry.
    """
    try:
        came = _came_of(site, request)
    except PersonUnderWay:
        return
    forget = isinstance(came, SesameError) and find(site.database, request.student_number) is None
    told = {"txn": request.txn, "answer": answer(request, came)}

    def note(connection: Connection) -> None:
        if not accepted_requests.end(connection, request.txn):
            return
        number, now = request.student_number, site.database.now(connection)
        if forget:
            external_ids.forget(connection, number)  # so that the same may be sent again
        webhooks.add_answer(connection, site.database, listeners(site), number, told, now)

    site.database.transact(note)


def _came_of(site: Configured, request: AcceptedRequest) -> Outcome:
    """The outcome of a request. Raises `PersonUnderWay`: nothing yet."""
    database, number = site.database, request.student_number
    try:
        if not is_applied(database, number, request.steps) or (
            request.changes_hold and not is_held_as_asked(database, number)
        ):
            with database.read() as connection:
                waited_s = database.now(connection) - request.accepted_at
            if waited_s < WAITED_S_MAX:
                raise PersonUnderWay
            return PersonUnderWay()
    except (PersonInDoubt, PersonRejected) as error:
        return error
    if request.method == "DELETE":
        return None
    return find(database, number) or why_not_shown(database, number)
