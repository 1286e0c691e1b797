"""`sesame run`, `consume`, `serve`, `web`, `console`: long-running processes.

And how they end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import click

from sesame.app.lazy import lazily
from sesame.cli.context import pass_context
from sesame.cli.errors import ExitCode

with lazily():
    from sesame.app import console as app_console
    from sesame.app import gc_freeze, health, process_runner, wiring
    from sesame.app.observability import logs
    from sesame.app.observability import metrics as observability_metrics
    from sesame.cli import context as cli_context
    from sesame.web import students

Work = Callable[["wiring.Application", "observability_metrics.Metrics", threading.Event], object]
"""What the process does until the event is set; what it returns is not empty if something has not ended."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_process(context: cli_context.Context, work: Work) -> None:
    """Run `work` until SIGINT or SIGTERM; exit 0, or 1 if a part did not end in time.

    A second signal ends the process at once, as kill -9 would: nothing is lost, what was under way is
    repeated.
    """
    metrics = observability_metrics.Metrics()
    settings = context.settings
    logs.configure_logs(
        level=settings.observability.log_level,
        form=settings.observability.log_format,
        on_dropped=metrics.log_fields_dropped.inc,
    )
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in _SIGNALS:
        signal.signal(number, stop)
    with closing(wiring.build(settings)) as application:
        gc_freeze.usual()
        left = work(application, metrics, stopping)
    _end(ExitCode.FAILED if left else ExitCode.DONE)


def _end(code: ExitCode) -> None:
    """Exit even if a thread is left: Python would wait for it, however long it takes."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if code is ExitCode.DONE and all(thread.daemon for thread in others):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(int(code))


@click.command()
@pass_context
def run(context: cli_context.Context) -> None:
    """Run every consumer, the outbox and the timers, until SIGINT or SIGTERM.

    The embedded log and store are made if they are not there. Other commands may run beside it. A second
    signal ends it at once.
    """
    run_process(
        context, lambda app, metrics, stopping: process_runner.ProcessRunner(app, metrics).run(stopping)
    )


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
def consume(context: cli_context.Context, names: tuple[str, ...], workers: int) -> None:
    """Run the consumers NAME, with what they need of outbox, timers and housekeeping.

    NAME is `registry`, `propagation`, or one of the settings' `targets`. Runs until SIGINT or SIGTERM: calls
    under way are finished and offsets committed within `engine.shutdown_s_max`, and the exit code is 0. A
    second signal ends it at once.

    Start it as often as there are partitions, on any number of machines that share database and log. With the
    embedded log a consumer has one owner: a second process waits until the first one ends.
    """
    run_process(
        context,
        lambda app, metrics, stopping: process_runner.ProcessRunner(app, metrics, names, workers=workers).run(
            stopping
        ),
    )


@click.command()
@pass_context
def serve(context: cli_context.Context) -> None:
    """Serve /metrics, /livez and /readyz on the port of `http`, until SIGINT or SIGTERM.

    Shows the gauges that are read from the database (parked, waiting, dead letters, outbox), and whether
    database and log are there. `sesame run` does so itself; beside `sesame consume`, one of these is enough.
    """
    run_process(context, health.serve)


@click.command()
@pass_context
def web(context: cli_context.Context) -> None:
    """Serve the students' pages until SIGINT or SIGTERM.

    Runs beside `sesame run`. It needs the database, the vault's key and the mail server of [smtp].
    With `portal.metrics_port` it serves /metrics, /livez and /readyz there.
    """
    run_process(context, _serve_pages)


@click.command()
@pass_context
def console(context: cli_context.Context) -> None:
    """Serve the operators' console and the API until SIGINT or SIGTERM.

    Runs beside `sesame run`, on the address of [console]: for the networks of those who work with it, not for
    the whole world, as `sesame web` is. It needs database, log, the vault's key and the targets' secrets.
    """
    run_process(context, lambda app, _metrics, stopping: app_console.serve(app, stopping))


def _serve_pages(
    application: wiring.Application, metrics: observability_metrics.Metrics, stopping: threading.Event
) -> None:
    operators = health.portal_health_server(application, metrics)
    pages = students.Server(application.portal(metrics), around=application.traced)
    if operators is not None:
        operators.start()
    try:
        pages.run(stopping)
    finally:
        if operators is not None:
            operators.stop()
