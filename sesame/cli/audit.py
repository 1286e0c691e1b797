"""`sesame audit`: who did what, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from schemas.language import gettext
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option, moment
from sesame.cli.output import local_time, show_table, write_json

_SHOWN = 50


@click.command()
@click.option("--actor", help="By this user, whoever's rights they had.")
@click.option("--action", help="This one, or all of a kind: `hold` means hold.place and hold.lift.")
@click.option("--about", metavar="VALUE", help="A student number, a consumer, a replay's or a file's name.")
@click.option("--since", help="Of this time on, e.g. 2026-09-01T08:00 (of the machine's time zone).")
@click.option("--before", type=int, metavar="ID", help="The page that is older than this entry.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=_SHOWN, show_default=True, help="No more than so many."
)
@json_option
@pass_context
def audit(
    context: Context,
    *,
    actor: str | None,
    action: str | None,
    about: str | None,
    since: str | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show who did what and why, the newest first.

    Every act of an operator is here, with each look at a person by `diagnose`, `support` and `identities
    show`; an act by sudo is under the caller's name. Entries are never changed. Reasons are kept apart, and
    may have been removed.
    """
    from sesame.operations.audit import AuditPage, entries

    site = context.looking
    page = AuditPage(
        actor=actor,
        action=action,
        about=about,
        since=moment("--since", since) or 0.0,
        before=before,
        limit=limit + 1,
    )
    found = entries(site, operator(), page)
    shown, more = found[:limit], len(found) > limit
    if as_json:
        write_json([entry.model_dump() for entry in shown])
    else:
        detail = gettext("detail")
        names = (gettext("id"), gettext("at"), gettext("actor"), gettext("action"), detail, gettext("reason"))
        rows = [
            (
                str(entry.id),
                local_time(entry.at),
                entry.actor,
                entry.action,
                _in_one_line(entry.detail),
                entry.reason or "",
            )
            for entry in shown
        ]
        show_table(names, rows, folded=detail)
    if more:
        click.echo(gettext("older ones: --before {id}", id=shown[-1].id), err=True)


def _in_one_line(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in detail.items() if name != "reason_ref")
