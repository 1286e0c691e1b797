"""`sesame export`: a day's table without persons, or a list of students."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.output import remark

with lazily():
    from sesame.operations.keeping import daily_export, student_lists


@click.command()
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="A day that is over.")
@click.option(
    "--list",
    "list_name",
    type=click.Choice(["pix", "groups"]),
    help="Students for Pix Orga, or for the timetable by group.",
)
@click.option("--component", help="Of the list, students of this component alone, by its code.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="In which form; Parquet takes the extra `parquet`.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write this file. Without it: to standard output.",
)
@pass_context
def export(
    context: Context,
    *,
    day: datetime | None,
    list_name: str | None,
    component: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Write a day's propagations as a table without persons, or a list of students.

    The table: how many accounts were completed, by target, lane and cohort (of at least ten students), and
    how long it took; how many were late; how many wait now, and why; dead letters by cause.
    """
    if (day is None) == (list_name is None) or (component is not None and list_name is None):
        raise click.UsageError(gettext("give either --day, or --list with or without --component"))
    if list_name is not None and form != "csv":
        raise click.UsageError(gettext("a list is CSV"))
    if day is not None:
        asked = daily_export.DayExportRequest(day=day.date(), form=cast("daily_export.ExportForm", form))
        content = context.run(daily_export.export_day, asked, lambda: datetime.now(UTC))
    else:
        name = cast("student_lists.ListName", list_name)
        listed = student_lists.StudentListRequest(list=name, component=component)
        found = context.run(student_lists.student_list, listed)
        content = found.content.encode()
        if found.left_out:
            numbers = ", ".join(found.left_out)
            remark(gettext("Left out, without a first or a family name: {numbers}", numbers=numbers))
    if output is None:
        click.echo(content, nl=False)
    else:
        output.touch(mode=0o600)  # of a new file: a list names persons
        output.write_bytes(content)
