"""`sesame token`: programs that may use the API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.operations.programs import tokens

DAYS_MAX = 366  # as `sesame.operations.programs.tokens` has it; tested


@click.group()
def token() -> None:
    """Tokens by which programs use the API."""


@token.command()
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="What it may do: a role or an act, such as dead_letters.list; may be repeated.",
)
@click.option("--days", type=click.IntRange(1, DAYS_MAX), required=True, help="For how many days.")
@click.option("--name", default="api", show_default=True, help="By which the audit names it.")
@json_option
@pass_context
def create(context: Context, *, scopes: tuple[str, ...], days: int, name: str) -> CommandResult:
    """Make a token and print it, this once. It is kept as a digest only.

    Roles are viewer, support, registrar, operator and administrator. Nobody gives a token more rights than
    they have. Noted in the audit.
    """
    from pydantic import ValidationError

    try:
        request = tokens.CreateTokenRequest(scopes=scopes, days=days, name=name)
    except ValidationError as error:
        words = gettext("a name has 1 to 40 letters, digits, dots, hyphens, underscores or @")
        raise click.BadParameter(words, param_hint="--name") from error
    made = context.run_creating(tokens.create, request)
    return CommandResult(made, partial(_show_made, made))


def _show_made(made: tokens.TokenCreated) -> None:
    click.echo(made.token)
    until = local_time(made.expires_at)
    remark(gettext("{id} is in force until {time}; keep it secret", id=made.id, time=until))


@token.command(name="list")
@json_option
@pass_context
def list_command(context: Context) -> CommandResult:
    """List the tokens whose time is not over, with what each may do."""
    found = context.run(tokens.listed)
    return CommandResult(found, partial(_show, found))


def _show(found: Sequence[tokens.TokenReport]) -> None:
    if not found:
        remark(gettext("There are no tokens."))
        return
    names = (
        *(gettext("id"), gettext("name"), gettext("scopes"), gettext("by"), gettext("until")),
        *(gettext("last used"), gettext("revoked")),
    )
    rows = [
        (
            each.id,
            each.name,
            " ".join(each.scopes),
            each.created_by,
            local_time(each.expires_at),
            "" if each.last_used_at is None else local_time(each.last_used_at),
            "" if each.revoked_at is None else local_time(each.revoked_at),
        )
        for each in found
    ]
    show_table(names, rows)


@token.command()
@click.argument("token_id", metavar="ID")
@json_option
@pass_context
def revoke(context: Context, *, token_id: str) -> CommandResult:
    """Refuse a token from its next request on. Noted in the audit."""
    ended = context.run_creating(tokens.revoke, token_id)
    text = gettext("{id} ({name}) is revoked", id=ended.id, name=ended.name)
    return CommandResult(ended, partial(click.echo, text))
