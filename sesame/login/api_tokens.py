"""API tokens of programs: what each may do, and until when.

A token is `sesame_<id>_<secret>`; scanners of secrets find it by `sesame_[0-9a-f]{12}_[0-9a-f]{64}`. The
secret is 256 random bits. Tables have only its SHA-256: it was not chosen by a person, so a salt or a slow
hash would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from pipeline.db.metadata import metadata
from pipeline.db.persons import of_nobody

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("digest", String(64), nullable=False),  # SHA-256 of the whole token
    Column("name", String(40), nullable=False),
    Column("scopes", Text, nullable=False),  # with blanks between, as OAuth writes them (RFC 6749, 3.3)
    Column("created_by", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("revoked_at", Float),
    Column("last_used_at", Float),  # by the minute
    info=of_nobody("programs, and the operators who let them in"),
)

_FORM: Final = re.compile(r"sesame_([0-9a-f]{12})_[0-9a-f]{64}")
_MINUTE_S: Final = 60.0


@dataclass(frozen=True)
class ApiToken:
    """One token, without its secret. Times are seconds since the epoch, UTC.

    Attributes:
        scopes: roles, and names of acts.
        last_used_at: to the minute; None: never.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    created_by: str
    created_at: float
    expires_at: float
    revoked_at: float | None = None
    last_used_at: float | None = None


_COLUMNS = [api_tokens.c[name] for name in ApiToken.__dataclass_fields__]
_TOKEN: Final = select(api_tokens.c.digest, *_COLUMNS).where(api_tokens.c.id == bindparam("token"))


def new() -> tuple[str, str]:
    """A new token's id, and the token."""
    token_id = secrets.token_hex(6)
    return token_id, f"sesame_{token_id}_{secrets.token_hex(32)}"


def keep(connection: Connection, token: str, kept: ApiToken) -> None:
    """Keep what a token may do."""
    values = kept.__dict__ | {"scopes": " ".join(kept.scopes), "digest": _digest(token)}
    connection.execute(insert(api_tokens).values(values))


def valid(connection: Connection, token: str, *, now: float) -> ApiToken | None:
    """The token's record, with its rights; None: unknown, revoked or expired."""
    form = _FORM.fullmatch(token)
    if form is None:
        return None
    row = connection.execute(_TOKEN, {"token": form[1]}).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, _digest(token)):
        return None
    found = _made(row[1:])
    return found if found.revoked_at is None and now < found.expires_at else None


def used(connection: Connection, token_id: str, *, now: float) -> None:
    """Note that a token was used in this minute."""
    this = api_tokens.c.id == token_id
    connection.execute(update(api_tokens).where(this).values(last_used_at=now - now % _MINUTE_S))


def is_noted(token: ApiToken, *, now: float) -> bool:
    """Whether it was noted already that a token was used in this minute."""
    return token.last_used_at is not None and now - token.last_used_at < _MINUTE_S


def every(connection: Connection) -> list[ApiToken]:
    """All tokens that are not forgotten, oldest first."""
    query = select(*_COLUMNS).order_by(api_tokens.c.created_at, api_tokens.c.id)
    return [_made(row) for row in connection.execute(query)]


def revoke(connection: Connection, token_id: str, *, now: float) -> ApiToken | None:
    """Revoke a token for good; None: there is none of this id."""
    this = api_tokens.c.id == token_id
    connection.execute(
        update(api_tokens).where(this, api_tokens.c.revoked_at.is_(None)).values(revoked_at=now)
    )
    row = connection.execute(select(*_COLUMNS).where(this)).one_or_none()
    return None if row is None else _made(row)


def forget_over(connection: Connection, *, now: float) -> int:
    """Forget expired tokens; return how many."""
    return connection.execute(delete(api_tokens).where(api_tokens.c.expires_at <= now)).rowcount


def _made(row: object) -> ApiToken:
    values = dict(zip(ApiToken.__dataclass_fields__, row, strict=True))  # type: ignore[call-overload]
    return ApiToken(**values | {"scopes": tuple(values["scopes"].split())})


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
