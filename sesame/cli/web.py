"""`sesame web`: the students' pages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.services import run_process

if TYPE_CHECKING:
    from sesame.app.observability.metrics import Metrics
    from sesame.app.wiring import Application


@click.command()
@pass_context
def web(context: Context) -> None:
    """Serve the students' pages until SIGINT or SIGTERM.

    Runs beside `sesame run`. It needs the database, the vault's key and the mail server of [smtp].
    With `portal.metrics_port` it serves /metrics, /livez and /readyz there.
    """
    run_process(context, _serve)


def _serve(application: Application, metrics: Metrics, stopping: threading.Event) -> None:
    from sesame.app.health import portal_health_server
    from sesame.web import Server

    operators = portal_health_server(application, metrics)
    pages = Server(application.portal(metrics))
    if operators is not None:
        operators.start()
    try:
        pages.run(stopping)
    finally:
        if operators is not None:
            operators.stop()
