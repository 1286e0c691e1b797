"""`sesame run`: the whole pipeline in one process."""

from __future__ import annotations

import signal
import threading

import click

from sesame.cli.context import Context, pass_context


@click.command()
@pass_context
def run(context: Context) -> None:
    """Run every consumer, the outbox and the timers, until SIGINT or SIGTERM.

    The embedded log and store are made if they are not there. Other commands may run beside it.
    """
    from sesame.observability.logs import configure_logs
    from sesame.observability.metrics import Metrics
    from sesame.running import Runner
    from sesame.wiring import build

    metrics = Metrics()
    settings = context.settings
    configure_logs(
        level=settings.observability.log_level,
        form=settings.observability.log_format,
        on_dropped=metrics.log_fields_dropped.inc,
    )
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopping.set())
    application = build(settings)
    try:
        Runner(application, metrics).run(stopping)
    finally:
        application.close()
