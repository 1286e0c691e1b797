"""`sesame web`: the students' pages."""

from __future__ import annotations

import signal
import threading

import click

from sesame.cli.context import Context, pass_context


@click.command()
@pass_context
def web(context: Context) -> None:
    """Serve the students' pages until SIGINT or SIGTERM.

    Runs beside `sesame run`. It needs the database, the vault's key and the mail server of [smtp].
    """
    from sesame.observability.logs import configure_logs
    from sesame.web import Server
    from sesame.wiring import build

    settings = context.settings
    configure_logs(level=settings.observability.log_level, form=settings.observability.log_format)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopping.set())
    application = build(settings)
    try:
        Server(application.portal()).run(stopping)
    finally:
        application.close()
