"""`sesame export`: a day's propagations as a table without persons."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click

from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context

with lazily():
    from sesame.operations.keeping import daily_export


@click.command()
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), required=True, help="A day that is over.")
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
def export(context: Context, *, day: datetime, form: str, output: Path | None) -> None:
    """Write a day's propagations as a table, without persons.

    How many accounts were completed, by target, lane and cohort (of at least ten students), and how long it
    took; how many were late; how many wait now, and why; dead letters by cause.
    """
    asked = daily_export.DayExportRequest(day=day.date(), form=cast("daily_export.ExportForm", form))
    content = context.run(daily_export.export_day, asked, lambda: datetime.now(UTC))
    if output is None:
        click.echo(content, nl=False)
    else:
        output.write_bytes(content)
