"""`sesame consume`: some of the consumers, in a process of their own."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.services import run_process


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Members of its group that each consumer has in this process.",
)
@pass_context
def consume(context: Context, names: tuple[str, ...], workers: int) -> None:
    """Run the consumers NAME, with what they need of outbox, timers and housekeeping.

    NAME is `registry`, `propagation`, or one of the settings' `targets`. Runs until SIGINT or SIGTERM: calls
    under way are finished and offsets committed within `engine.shutdown_s_max`, and the exit code is 0. A
    second signal ends it at once.

    Start it as often as there are partitions, on any number of machines that share database and log. With the
    embedded log a consumer has one owner: a second process waits until the first one ends.
    """
    from sesame.app.process_runner import ProcessRunner

    run_process(
        context,
        lambda app, metrics, stopping: ProcessRunner(app, metrics, names, workers=workers).run(stopping),
    )
