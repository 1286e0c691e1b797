"""Routes of event receivers: poll Security Event Tokens (RFC 8936), send a test."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from sesame.operations.programs.polled_events import (
    TOKENS_MAX,
    PollRequest,
    TokenId,
    poll,
)
from sesame.web.api.routes import Caller, Name, route


class TokenError(BaseModel):
    """Why a token was not taken (RFC 8935, 2.3)."""

    err: str = Field(pattern=r"^[a-z_]{1,40}$")
    description: str = ""


class TokenPoll(BaseModel):
    """The request (RFC 8936, 2.2). It is answered at once, for any `returnImmediately`."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    max_events: int = Field(TOKENS_MAX, ge=0, alias="maxEvents")
    return_immediately: bool = Field(default=False, alias="returnImmediately")
    ack: tuple[TokenId, ...] = Field((), max_length=1000)
    set_errors: Mapping[TokenId, TokenError] = Field({}, max_length=1000, alias="setErrs")


class TokensPolled(BaseModel):
    """The answer (RFC 8936, 2.3)."""

    model_config = ConfigDict(serialize_by_alias=True)

    sets: Mapping[str, str]
    more_available: bool = Field(alias="moreAvailable")


@route("POST", "/events/{receiver}", poll)
def poll_events(call: Caller, receiver: Name, request: TokenPoll) -> TokensPolled:
    """This receiver's unacknowledged Security Event Tokens, in order for each student."""
    asked = PollRequest(
        receiver=receiver,
        most=request.max_events,
        taken=request.ack,
        refused={name: each.err for name, each in request.set_errors.items()},
    )
    found = poll(call.site, call.actor, asked)
    return TokensPolled(sets=found.sets, moreAvailable=found.more)
