"""`sesame students`: who is in which state, and why, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import show_table, write_json

if TYPE_CHECKING:
    from sesame.operations.diagnosis.students import ListedStudent

_LIMIT, _LIMIT_MAX = 50, 1000


@click.command()
@click.option("--state", help="completed, waiting, retrying, failed or in_progress.")
@click.option("--cause", help="Who waits, is tried again or was given up for this, as `overview` names it.")
@click.option("--after", metavar="STUDENT", default="", help="Those that follow this number: the next page.")
@click.option(
    "--limit", type=click.IntRange(1, _LIMIT_MAX), default=_LIMIT, show_default=True, help="At most so many."
)
@json_option
@pass_context
def students(
    context: Context, *, state: str | None, cause: str | None, after: str, limit: int, as_json: bool
) -> None:
    """List the activated students in a state, or for a cause, by number."""
    from sesame.operations.diagnosis.students import PageAsked, listed

    asked = PageAsked(state=state, cause=cause, after=after, limit=limit)
    page = listed(context.looking, operator(), asked)
    if as_json:
        write_json(page.model_dump())
        return
    if not page.students:
        click.echo("Nobody.", err=True)
        return
    rows = [(one.person.student_number, one.person.state, "; ".join(_targets(one))) for one in page.students]
    show_table({"student": "left", "state": "left", "targets": "left"}, rows, folded="targets")
    if page.next is not None:
        click.echo(f"There are more: add --after {page.next}", err=True)


def _targets(student: ListedStudent) -> Iterator[str]:
    """What there is to say of targets that do not have everything, and of those that are tried again."""
    for name, one in student.person.targets.items():
        retry = student.retrying.get(name)
        if retry is not None:
            yield f"{name} tried again since {retry.since:%Y-%m-%d %H:%M:%S} UTC: {retry.cause}"
        elif one["state"] != "provisioned":
            yield f"{name} {one['state']}" + (f": {one['reason']}" if one["reason"] else "")
