"""Event receivers: tokens for polling, keys of tokens, and a test delivery.

Events that a receiver has not acknowledged are redelivered, in order for each student, after any restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints
from sqlalchemy import Connection

from consumers.webhooks import rows
from consumers.webhooks.endings import give_up, take
from consumers.webhooks.security_events import key_set, token_of
from consumers.webhooks.sender import send_trial
from pipeline.errors import SesameError
from schemas.language import gettext
from sesame.acts.acts import OPERATORS, Actor, ActPath, ActRequest, Report, act, check, note, note_look
from sesame.acts.ports import Configured, HasSettings

TOKENS_MAX: Final = 100

TokenId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class NoSuchReceiver(SesameError):
    """No receiver of this name asks for its events. `webhooks.receivers` of the settings names it, with the
    form `set` and without an address."""

    exit_code = 2


class PollRequest(ActRequest):
    """A receiver's acknowledgements, and how much more it wants.

    Attributes:
        taken: the `jti` of tokens that it has.
        refused: of tokens that it does not take, with the word of RFC 8935.
    """

    receiver: str
    most: int = Field(TOKENS_MAX, ge=0)
    taken: tuple[TokenId, ...] = Field((), max_length=1000)
    refused: Mapping[TokenId, Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]] = Field(
        {}, max_length=1000
    )


class PollReport(Report):
    """Tokens by their `jti`, and whether there are more."""

    sets: Mapping[str, str]
    more: bool


class ReceiverReport(Report):
    """A receiver's answer to an empty event. `status`: None: it gave no answer."""

    receiver: str
    status: int | None


@act("receiver.try", OPERATORS, path=ActPath("try_receiver_now", "POST", "/receivers/{receiver}/try"))
def try_receiver(site: Configured, actor: Actor, name: str) -> ReceiverReport:
    """Send one empty test event to a receiver of the settings, now and once.

    Raises:
        NoSuchReceiver: none of this name has an address.
        SecretUnreadable, WebhookKeyUnusable: nothing was sent.
    """
    webhooks = site.settings.webhooks
    receiver = webhooks.receivers.get(name)
    if receiver is None or receiver.url is None:
        raise NoSuchReceiver(
            gettext("no receiver {name!r} is told its events", name=name),
            remedy=gettext("`webhooks.receivers` of the settings names it, with an address."),
        )
    note(site.database, actor, "receiver.try", receiver=name)
    with site.database.read() as connection:
        now = site.database.now(connection)
    how: Any = {"issuer": site.settings.console.public_url, "now": now}
    return ReceiverReport(receiver=name, status=send_trial(name, receiver, receiver.url, **how))


@act("events.poll", OPERATORS)
def poll(site: Configured, actor: Actor, request: PollRequest) -> PollReport:
    """Drop what the receiver acknowledges, and return its further events.

    Raises:
        NoSuchReceiver: nothing was done.
        ActRefused: likewise: the scope is another receiver's.
        SecretUnreadable, WebhookKeyUnusable: what it acknowledged stays dropped.
    """
    check(actor, "events.poll", of=request.receiver)
    receiver = site.settings.webhooks.receivers.get(request.receiver)
    if receiver is None or receiver.url is not None:
        raise NoSuchReceiver(gettext("no receiver {name!r} asks for its events", name=request.receiver))
    site.database.transact(partial(_settle, site, request))
    with site.database.read() as connection:
        now = site.database.now(connection)
        found = rows.due(connection, request.receiver, now, limit=min(request.most, TOKENS_MAX))
        waiting = sum(rows.waiting(connection, request.receiver).values())
    key = receiver.keys(request.receiver)[0]
    issuer, audience = site.settings.console.public_url, receiver.audience_of(request.receiver)
    sets = {
        event.event_id: token_of(event, key, issuer=issuer, audience=audience, now=now) for event in found
    }
    if sets:
        note_look(site.database, actor, "events.poll", receiver=request.receiver, count=len(sets))
    return PollReport(sets=sets, more=waiting > len(sets))


def public_keys(site: HasSettings) -> dict[str, Any]:
    """The keys of all tokens, as a set of JSON Web Keys (RFC 7517).

    Raises:
        SecretUnreadable, WebhookKeyUnusable: a file of keys cannot be used.
    """
    receivers = site.settings.webhooks.receivers.items()
    return key_set(key for name, each in receivers if each.form == "set" for key in each.keys(name))


def _settle(site: Configured, request: PollRequest, connection: Connection) -> None:
    now = site.database.now(connection)
    for event in rows.named(connection, request.receiver, request.taken):
        take(connection, event, now)
    for event in rows.named(connection, request.receiver, request.refused.keys()):
        refusal = f"the receiver answers {request.refused[event.event_id]}"
        give_up(connection, site.database, event, refusal, now)
