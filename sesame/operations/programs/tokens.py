"""Programs' tokens: who issues them, what they allow, and who bears one."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from pipeline.db.database import Database
from pipeline.errors import DependencyDown, SesameError
from schemas.language import gettext
from sesame import operations
from sesame.acts.acts import (
    ADMINISTRATORS,
    RIGHTS,
    Actor,
    ActRequest,
    Report,
    Role,
    act,
    may,
    note,
    utc,
    utc_or_none,
)
from sesame.acts.ports import Stored
from sesame.login import api_tokens
from sesame.login.api_tokens import ApiToken

DAYS_MAX: Final = 366
_DAY_S: Final = 86_400


class UnknownScope(SesameError):
    """A scope is a role (viewer, support, registrar, operator, administrator) or the name of an act, such as
    `dead_letters.list`; of a receiver's events `events.poll:` and its name."""

    exit_code = 2


class ScopeBeyondRights(SesameError):
    """Nobody gives a token more rights than they have."""

    exit_code = 2


class NoSuchToken(SesameError):
    """No token has this id. `sesame token list` shows them."""


class TokenRefused(SesameError):
    """No token that is in force was given. `sesame token create` makes one."""


class CreateTokenRequest(ActRequest):
    """A new token's purpose.

    Attributes:
        scopes: roles, and names of acts that its bearer may do.
        days: its lifetime.
        name: in the audit.
    """

    scopes: Annotated[tuple[str, ...], Field(min_length=1)]
    days: Annotated[int, Field(ge=1, le=DAYS_MAX)]
    name: Annotated[str, StringConstraints(pattern=r"^[\w.@-]{1,40}$")] = "api"


class TokenReport(Report):
    """One token, without its secret. `last_used_at`: to the minute."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


class TokenCreated(TokenReport):
    """A report with the token, which is never shown again."""

    token: str = Field(repr=False)


@act("token.create", ADMINISTRATORS)
def create(site: Stored, actor: Actor, request: CreateTokenRequest) -> TokenCreated:
    """Let a program in.

    Raises:
        UnknownScope, ScopeBeyondRights: no token was made.
        StoreUnavailable: likewise.
    """
    operations.load_all()
    scopes = tuple(dict.fromkeys(request.scopes))
    for scope in scopes:
        granted = _granted(scope)
        if not granted:
            raise UnknownScope(gettext("there is no scope {scope!r}", scope=scope))
        if not all(may(actor, each) for each in granted):
            raise ScopeBeyondRights(
                gettext("{actor} may not do all of {scope}", actor=actor.name, scope=scope)
            )
    token_id, token = api_tokens.new()
    note(site.database, actor, "token.create", token=token_id, name=request.name, scopes=list(scopes))
    with site.database.write() as connection:
        now = site.database.now(connection)
        until = now + request.days * _DAY_S
        kept = ApiToken(token_id, request.name, scopes, actor.name, now, until)
        api_tokens.keep(connection, token, kept)
    return TokenCreated(**_shown(kept).model_dump(), token=token)


@act("token.list", ADMINISTRATORS)
def listed(site: Stored, _actor: Actor) -> list[TokenReport]:
    """All unexpired tokens, with the revoked ones until they expire; oldest first."""
    with site.database.read() as connection:
        return [_shown(each) for each in api_tokens.every(connection)]


@act("token.revoke", ADMINISTRATORS)
def revoke(site: Stored, actor: Actor, token_id: str) -> TokenReport:
    """Let a program in no more, from its next request on.

    Raises:
        NoSuchToken: there is none of this id.
    """
    note(site.database, actor, "token.revoke", token=token_id)
    with site.database.write() as connection:
        found = api_tokens.revoke(connection, token_id, now=site.database.now(connection))
    if found is None:
        raise NoSuchToken(gettext("no token {id!r}", id=token_id))
    return _shown(found)


def bearer(database: Database, token: str) -> Actor:
    """The actor who bears this token.

    Raises:
        TokenRefused: it is not one of ours, was revoked, or has expired.
        StoreUnavailable: it cannot be looked up.
    """
    with database.read() as connection:
        now = database.now(connection)
        found = api_tokens.valid(connection, token, now=now)
    if found is None:
        raise TokenRefused
    if not api_tokens.is_noted(found, now=now):
        # A program must be able to look when the store takes no more.
        with suppress(DependencyDown), database.write() as connection:
            api_tokens.used(connection, found.id, now=now)
    roles = frozenset(Role(scope) for scope in found.scopes if scope in _ROLES)
    acts = frozenset(scope for scope in found.scopes if scope not in _ROLES)
    return Actor(f"token {found.name} ({found.id})", roles, acts=acts)


_ROLES: Final = frozenset(Role)
_SCOPED: Final = frozenset({"events.poll"})
"""Acts with a scope for each object."""

_OF: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")


def _granted(scope: str) -> Collection[str]:
    """The acts that a scope lets do; none: there is no such scope."""
    if scope in _ROLES:
        return [name for name, roles in RIGHTS.items() if scope in roles]
    name, _, of = scope.partition(":")
    if name in _SCOPED:  # in an older token, the bare name covers all of them
        return [name] if _OF.fullmatch(of) else []
    return [scope] if scope in RIGHTS else []


def _shown(token: ApiToken) -> TokenReport:
    times = {
        "created_at": utc(token.created_at),
        "expires_at": utc(token.expires_at),
        "revoked_at": utc_or_none(token.revoked_at),
        "last_used_at": utc_or_none(token.last_used_at),
    }
    return TokenReport(**token.__dict__ | times)
