"""`sesame serve`: metrics and health of all, in a process of its own."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.services import run_process


@click.command()
@pass_context
def serve(context: Context) -> None:
    """Serve /metrics, /livez and /readyz on the port of `http`, until SIGINT or SIGTERM.

    Shows the gauges that are read from the database (parked, waiting, dead letters, outbox), and whether
    database and log are there. `sesame run` does so itself; beside `sesame consume`, one of these is enough.
    """
    from sesame.app.health import serve as serve_health

    run_process(context, serve_health)
