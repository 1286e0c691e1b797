"""`sesame hold`: shut a student's access at once, or open it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator_name, reason_option

if TYPE_CHECKING:
    from producers.holds import HoldRequest
    from sesame.app.wiring import Application

_KINDS = click.Choice(["suspended", "administrative", "technical"])  # `schemas.account.Hold`, tested


class NotAStudentNumber(SesameError):
    """A student number has 1 to 32 letters, digits, dots, hyphens or underscores."""

    exit_code = 2


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
    from producers.holds import place

    app = context.application
    place(_request(student, kind, reason), database=app.database, producer=app.producer)
    if _known(app, student):
        click.echo(f"{student}: hold {kind} is placed; `sesame status {student}` shows when access is shut")
    else:
        click.echo(
            f"{student}: hold {kind} is kept until an import brings this number: it has no account yet"
        )


@hold.command(name="lift")
@click.argument("student")
@click.option("--kind", type=_KINDS, default="suspended", show_default=True, help="Which hold.")
@reason_option()
@pass_context
def lift_command(context: Context, *, student: str, kind: str, reason: str) -> None:
    """Say that the reason to shut STUDENT's access is gone. Other holds stay."""
    from producers.holds import lift

    app = context.application
    lift(_request(student, kind, reason), database=app.database, producer=app.producer)
    click.echo(f"{student}: hold {kind} is lifted")


def _known(app: Application, student: str) -> bool:
    from consumers.registry.people import People

    with app.database.read() as connection:
        return student in People(app.database).asked_by(connection, [student])


def _request(student: str, kind: str, reason: str) -> HoldRequest:
    from pydantic import TypeAdapter, ValidationError

    from producers.holds import HoldRequest
    from schemas.account import Hold, StudentNumber
    from sesame.app.wiring import utc_now

    try:
        TypeAdapter(StudentNumber).validate_python(student)
    except ValidationError as error:
        raise NotAStudentNumber from error
    return HoldRequest(student, Hold(kind), reason, operator_name(), utc_now())
