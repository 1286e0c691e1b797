"""`sesame hold`: shut a student's access at once, or open it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from schemas.language import gettext
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import reason_option

if TYPE_CHECKING:
    from sesame.operations.holds import HoldChange

_KINDS = click.Choice(["suspended", "administrative", "technical"])  # `schemas.account.Hold`, tested


@click.group()
def hold() -> None:
    """Shut access at once, whatever the account's stage, or open it again."""


@hold.command(name="place")
@click.argument("student")
@click.option("--kind", type=_KINDS, default="suspended", show_default=True, help="Why, in SupAnn.")
@reason_option()
@pass_context
def place_command(context: Context, *, student: str, kind: str, reason: str) -> None:
    """Shut STUDENT's access to every target. Nothing is deleted."""
    from sesame.operations.holds import place

    if place(context.application, operator(), _change(student, kind, reason)).known:
        said = gettext(
            "{number}: hold {kind} is placed; `sesame status {number}` shows when access is shut",
            number=student,
            kind=gettext(kind),
        )
    else:
        said = gettext(
            "{number}: hold {kind} is kept until an import brings this number: it has no account yet",
            number=student,
            kind=gettext(kind),
        )
    click.echo(said)


@hold.command(name="lift")
@click.argument("student")
@click.option("--kind", type=_KINDS, default="suspended", show_default=True, help="Which hold.")
@reason_option()
@pass_context
def lift_command(context: Context, *, student: str, kind: str, reason: str) -> None:
    """Say that the reason to shut STUDENT's access is gone. Other holds stay."""
    from sesame.operations.holds import lift

    lift(context.application, operator(), _change(student, kind, reason))
    click.echo(gettext("{number}: hold {kind} is lifted", number=student, kind=gettext(kind)))


def _change(student: str, kind: str, reason: str) -> HoldChange:
    from schemas.account import Hold
    from sesame.app.wiring import utc_now
    from sesame.operations.holds import HoldChange

    return HoldChange(student_number=student, kind=Hold(kind), reason=reason, at=utc_now())
