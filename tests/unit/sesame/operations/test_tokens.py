"""Tokens of programs: one is shown once, does what its scopes say until its time is over, and no more."""

from __future__ import annotations

import hashlib
import re
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline import audit
from pipeline.db.database import Database
from sesame.acts.acts import RIGHTS, Actor, ActRefused, Role, may
from sesame.cli import token as command
from sesame.login import api_tokens
from sesame.operations.programs import tokens
from sesame.operations.programs.tokens import (
    CreateTokenRequest,
    NoSuchToken,
    ScopeBeyondRights,
    TokenCreated,
    TokenRefused,
    UnknownScope,
    bearer,
)
from sesame.testing.servers.database_kit import Clock

CAMILLE = Actor("camille", frozenset(Role))
DAY_S = 86_400


@pytest.fixture
def site(database: Database) -> Any:
    return SimpleNamespace(database=database)


def made(site: Any, *scopes: str, actor: Actor = CAMILLE, days: int = 30, name: str = "bi") -> TokenCreated:
    return tokens.create(site, actor, CreateTokenRequest(scopes=scopes, days=days, name=name))


def test_a_token_has_the_form_that_scanners_look_for_and_only_its_digest_is_kept(
    site: Any, database: Database
) -> None:
    one = made(site, "viewer")
    assert re.fullmatch(r"sesame_[0-9a-f]{12}_[0-9a-f]{64}", one.token)
    assert one.token != made(site, "viewer").token
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(api_tokens.api_tokens.select()).mappings()]
        noted = [(each.actor, each.action, each.detail) for each in audit.entries(connection, limit=9)]
    assert not any(one.token[-64:] in str(row) for row in rows)
    assert hashlib.sha256(one.token.encode()).hexdigest() in {row["digest"] for row in rows}
    assert noted[-1] == ("camille", "token.create", {"token": one.id, "name": "bi", "scopes": ["viewer"]})
    assert one.token not in repr(one)
    assert one.token[-64:] not in repr(tokens.listed(site, CAMILLE))


def test_its_bearer_does_what_the_scopes_say_and_no_more(site: Any, database: Database) -> None:
    one = made(site, "viewer", "dead_letters.list")
    actor = bearer(database, one.token)
    assert actor.name == f"token bi ({one.id})"
    allowed = {name for name in RIGHTS if may(actor, name)}
    assert allowed == {name for name, roles in RIGHTS.items() if "viewer" in roles} | {"dead_letters.list"}
    assert "dead_letters.list" not in {name for name, roles in RIGHTS.items() if "viewer" in roles}
    with pytest.raises(ActRefused, match=rf"token bi \({one.id}\) may not do token.list"):
        tokens.listed(site, actor)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),  # another secret
        lambda token: token.replace("_", "-"),
        lambda token: token.upper(),
        lambda token: token + "0",
        lambda token: f"sesame_{'0' * 12}_{token[-64:]}",  # an id of nobody's
        lambda _token: "",
    ],
)
def test_what_is_not_the_token_is_nobody(site: Any, database: Database, change: Any) -> None:
    one = made(site, "viewer")
    with pytest.raises(TokenRefused):
        bearer(database, change(one.token))


def test_a_secret_enters_under_its_own_id_only(site: Any, database: Database) -> None:
    viewer, administrator = made(site, "viewer"), made(site, "administrator")
    with pytest.raises(TokenRefused):
        bearer(database, f"sesame_{administrator.id}_{viewer.token[-64:]}")


def test_it_is_over_when_its_days_are_and_is_forgotten_then(
    site: Any, database: Database, clock: Clock
) -> None:
    one = made(site, "viewer", days=2)
    clock.now += 2 * DAY_S - 1
    assert bearer(database, one.token).name == f"token bi ({one.id})"
    with database.write() as connection:
        assert api_tokens.forget_over(connection, now=database.now(connection)) == 0
    clock.now += 1
    with pytest.raises(TokenRefused):
        bearer(database, one.token)
    with database.write() as connection:
        assert api_tokens.forget_over(connection, now=database.now(connection)) == 1
    assert tokens.listed(site, CAMILLE) == []


def test_a_token_that_is_revoked_is_refused_from_then_on(site: Any, database: Database, clock: Clock) -> None:
    one, other = made(site, "viewer"), made(site, "viewer")
    clock.now += 5
    ended = tokens.revoke(site, CAMILLE, one.id)
    clock.now += 5
    assert tokens.revoke(site, CAMILLE, one.id) == ended, "the first time counts"
    with pytest.raises(TokenRefused):
        bearer(database, one.token)
    assert bearer(database, other.token).name.endswith(f"({other.id})")
    with pytest.raises(NoSuchToken):
        tokens.revoke(site, CAMILLE, "nobody")
    with database.read() as connection:
        assert ("camille", "token.revoke") in [
            (each.actor, each.action) for each in audit.entries(connection, limit=9)
        ]


def test_its_last_use_is_known_to_the_minute(site: Any, database: Database, clock: Clock) -> None:
    one = made(site, "viewer")
    seen = []
    for seconds in (0, 61, 1):
        clock.now += seconds
        bearer(database, one.token)
        (shown,) = tokens.listed(site, CAMILLE)
        assert shown.last_used_at is not None
        seen.append(shown.last_used_at.timestamp())
    with database.read() as connection:
        now = database.now(connection)
    assert [each % 60 for each in seen] == [0, 0, 0]
    assert seen[0] < seen[1] == seen[2]
    assert 0 <= now - seen[2] < 61


def test_nobody_gives_a_token_more_than_they_have(site: Any) -> None:
    giver = Actor("desk", frozenset({Role.VIEWER}), acts=frozenset({"token.create"}))
    assert made(site, "viewer", "overview.show", actor=giver).scopes == ("viewer", "overview.show")
    for beyond in ("support", "administrator", "dead_letters.list", "token.revoke"):
        with pytest.raises(ScopeBeyondRights, match=f"desk may not do all of {beyond}"):
            made(site, "viewer", beyond, actor=giver)


def test_only_administrators_give_tokens(site: Any) -> None:
    for role in Role:
        actor = Actor("camille", frozenset({role}))
        if role is Role.ADMINISTRATOR:
            assert made(site, "viewer", actor=actor).created_by == "camille"
        else:
            with pytest.raises(ActRefused):
                made(site, "viewer", actor=actor)


def test_a_token_needs_scopes_that_exist_and_an_end(site: Any) -> None:
    with pytest.raises(UnknownScope, match="'everything'"):
        made(site, "viewer", "everything")
    for wrong in (
        {"scopes": ()},
        {"days": 0},
        {"days": 367},
        {"name": ""},
        {"name": "x" * 41},
        {"name": "a b"},
    ):
        with pytest.raises(ValidationError):
            CreateTokenRequest(**{"scopes": ("viewer",), "days": 1} | wrong)


def test_the_name_in_the_audit_fits_its_column(site: Any, database: Database) -> None:
    one = made(site, "viewer", name="x" * 40)
    assert len(bearer(database, one.token).name) <= audit.trail.audit.c.actor.type.length  # type: ignore[attr-defined]


def test_the_command_takes_as_many_days_as_the_act() -> None:
    assert command.DAYS_MAX == tokens.DAYS_MAX
