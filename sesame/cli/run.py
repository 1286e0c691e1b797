"""`sesame run`: the whole pipeline in one process."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.services import run_process


@click.command()
@pass_context
def run(context: Context) -> None:
    """Run every consumer, the outbox and the timers, until SIGINT or SIGTERM.

    The embedded log and store are made if they are not there. Other commands may run beside it. A second
    signal ends it at once.
    """
    from sesame.app.process_runner import ProcessRunner

    run_process(context, lambda app, metrics, stopping: ProcessRunner(app, metrics).run(stopping))
