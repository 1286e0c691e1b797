"""`sesame web`: the students' pages."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.process import run_process


@click.command()
@pass_context
def web(context: Context) -> None:
    """Serve the students' pages until SIGINT or SIGTERM.

    Runs beside `sesame run`. It needs the database, the vault's key and the mail server of [smtp].
    """
    from sesame.web import Server

    run_process(context, lambda app, _metrics, stopping: Server(app.portal()).run(stopping))
