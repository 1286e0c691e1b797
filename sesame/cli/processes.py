"""`sesame processes`: where each consumer runs, and who has gone silent."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import show_table, write_json


@click.group()
def processes() -> None:
    """Look at the processes that run consumers, and see off one that has died."""


@processes.command(name="list")
@json_option
@pass_context
def list_command(context: Context, *, as_json: bool) -> None:
    """List each consumer's processes by their last sign of life. One that ended properly is not listed."""
    from sesame.operations.diagnosis.processes import listed

    found = listed(context.looking, operator())
    if as_json:
        write_json({name: one.model_dump() for name, one in found.items()})
        return
    rows = []
    for name, one in found.items():
        rows += [
            [name, each.words, f"{each.seen_at:%Y-%m-%d %H:%M:%S}", each.reason] for each in one.processes
        ]
        if not one.processes:
            rows.append([name, one.state, "", one.reason])
    names = ("consumer", "process", "seen (UTC)", "reason")
    show_table(dict.fromkeys(names, "left"), rows, folded="reason")


@processes.command(name="forget")
@click.argument("process")
@pass_context
def forget_command(context: Context, *, process: str) -> None:
    """Forget PROCESS (host:pid), which has died and is not to come back. Noted in the audit."""
    from sesame.operations.diagnosis.processes import forget

    done = forget(context.looking, operator(), process)
    click.echo(f"{process} is forgotten: {', '.join(done.consumers)}")
