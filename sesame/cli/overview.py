"""`sesame overview`: everybody, in one look."""

from __future__ import annotations

import click
from rich.table import Table

from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import data_console, write_json


@click.command()
@json_option
@click.option("--students", "with_people", is_flag=True, help="With --json: list every activated student.")
@pass_context
def overview(context: Context, *, as_json: bool, with_people: bool) -> None:
    """Show how many activated accounts are complete, waiting, failed or under way, and how long it took."""
    from sesame.diagnosis.overview import Overview
    from sesame.diagnosis.overview import overview as look

    app = context.looking
    found: Overview = look(
        app.database,
        targets=app.settings.targets,
        late_s=app.settings.propagation.late_s,
        breach_s=app.settings.propagation.breach_s,
        with_people=with_people,
    )
    if as_json:
        write_json(found.document())
        return
    console = data_console()
    console.print(
        f"{found.students} activated: {found.completed} complete, {found.waiting} waiting, "
        f"{found.in_progress} in progress, {found.failed} failed; {found.dead_letters} dead letters"
    )
    for title, counts in (("waiting", found.waiting_by_reason), ("dead letter", found.dead_letters_by_cause)):
        for name, count in counts.items():
            console.print(f"  {title}: {name}: {count}")
    console.print(
        f"inside 15 min: {found.within_15_min}, inside 60 min: {found.within_60_min}, beyond: {found.beyond}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "target",
        "state",
        "provisioned",
        "waiting",
        "failed",
        "outstanding",
        "p50",
        "p95",
        "p99",
        "max",
    ):
        table.add_column(column, justify="left" if column in ("target", "state") else "right")
    for name in (*app.settings.targets, "all"):
        counts = found.targets.get(name, {})
        seconds = found.seconds.get(name, {})
        table.add_row(
            name,
            found.consumers.get(name, {}).get("state", ""),
            *(
                str(counts.get(s, 0)) if counts else ""
                for s in ("provisioned", "waiting", "failed", "outstanding")
            ),
            *(f"{seconds[q]:.2f} s" if q in seconds else "" for q in ("p50", "p95", "p99", "max")),
        )
    console.print(table)
