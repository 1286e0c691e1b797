"""`sesame hold`: shut a student's access at once, or open it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from schemas.language import gettext
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import reason_option
from sesame.cli.output import local_time

if TYPE_CHECKING:
    from sesame.operations.holds import HoldChange, HoldReport

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

    report = place(context.application, operator(), _change(student, kind, reason))
    said = _said(report)
    if not report.changed:
        told = (
            gettext("{number}: hold {kind} was placed already, on {at}; nothing was done", **said)
            if report.since
            else gettext("{number}: hold {kind} was placed already; nothing was done", **said)
        )
    elif report.known:
        told = gettext(
            "{number}: hold {kind} is placed; `sesame status {number}` shows when access is shut", **said
        )
    else:
        told = gettext(
            "{number}: hold {kind} is kept until an import brings this number: it has no account yet", **said
        )
    click.echo(told)


@hold.command(name="lift")
@click.argument("student")
@click.option("--kind", type=_KINDS, default="suspended", show_default=True, help="Which hold.")
@reason_option()
@pass_context
def lift_command(context: Context, *, student: str, kind: str, reason: str) -> None:
    """Say that the reason to shut STUDENT's access is gone. Other holds stay."""
    from sesame.operations.holds import lift

    report = lift(context.application, operator(), _change(student, kind, reason))
    said = _said(report)
    if report.changed:
        told = gettext("{number}: hold {kind} is lifted", **said)
    elif report.since:
        told = gettext("{number}: nothing to lift: hold {kind} was lifted on {at}", **said)
    else:
        told = gettext("{number}: nothing to lift: there is no hold {kind}", **said)
    click.echo(told)


def _said(report: HoldReport) -> dict[str, str]:
    """What its sentences name."""
    from sesame.operations.diagnosis.words import word

    at = "" if report.since is None else local_time(report.since)
    return {"number": report.student_number, "kind": word("holds", report.kind), "at": at}


def _change(student: str, kind: str, reason: str) -> HoldChange:
    from schemas.account import Hold
    from sesame.app.wiring import utc_now
    from sesame.operations.holds import HoldChange

    return HoldChange(student_number=student, kind=Hold(kind), reason=reason, at=utc_now())
