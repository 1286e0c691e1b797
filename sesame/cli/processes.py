"""`sesame processes`: where each consumer runs, and who has gone silent."""

from __future__ import annotations

from dataclasses import asdict

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited
from sesame.cli.options import json_option
from sesame.cli.output import show_table, write_json


class NoSuchProcess(SesameError):
    """No process has said something under this name. `sesame processes list` shows those that have."""


class StillAlive(SesameError):
    """This process gives signs of life: it would be listed again at once. Stop it."""


@click.group()
def processes() -> None:
    """Look at the processes that run consumers, and see off one that has died."""


@processes.command(name="list")
@json_option
@pass_context
def list_command(context: Context, *, as_json: bool) -> None:
    """List each consumer's processes by their last sign of life. One that ended properly is not listed."""
    from sesame.operations.diagnosis.processes import OF_THE_STORE, consumers

    app = context.looking
    with app.database.read() as connection:
        found = consumers(connection, app.database, (*OF_THE_STORE, *app.settings.targets))
    if as_json:
        write_json({name: asdict(one) for name, one in found.items()})
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


@processes.command()
@click.argument("process")
@pass_context
def forget(context: Context, *, process: str) -> None:
    """Forget PROCESS (host:pid), which has died and is not to come back. Noted in the audit."""
    from pipeline import status

    app = context.looking
    with app.database.read() as connection:
        now = app.database.now(connection)
        rows = [one for one in status.statuses(connection) if one.place.partition("#")[0] == process]
    if not rows:
        raise NoSuchProcess(f"no process is called {process!r}")
    if not all(one.is_silent(now) for one in rows):
        raise StillAlive(f"{process} was seen {min(one.silent_s(now) for one in rows):.0f} s ago")
    audited(app.database, "process.forget", process=process)
    with app.database.write() as connection:
        for one in rows:
            status.forget(connection, one.process, one.consumer)
    click.echo(f"{process} is forgotten: {', '.join(sorted({one.consumer for one in rows}))}")
