"""The port for metrics and health; `sesame serve` serves it for all processes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from typing import Final

import structlog

from schemas import catalogue
from sesame.app.observability.http import Check, HttpServer
from sesame.app.observability.metrics import Metrics
from sesame.app.reporter import Reporter
from sesame.app.wiring import Application
from sesame.operations.people.diagnosis.figures import Figures, Windows

_FULL_BYTES: Final = 1_000_000


def health_server(application: Application, metrics: Metrics, ready: Mapping[str, Check]) -> HttpServer:
    """The health server of the settings. `ready`: further checks of `/readyz`."""
    return _health_server(application, metrics, ready, port=application.settings.http.port)


def portal_health_server(application: Application, metrics: Metrics) -> HttpServer | None:
    """The health server of `sesame web`, whose open port shows no metrics; None: none is set."""
    port = application.settings.portal.metrics_port
    return None if port is None else _health_server(application, metrics, {}, port=port)


def _health_server(
    application: Application, metrics: Metrics, ready: Mapping[str, Check], *, port: int
) -> HttpServer:

    def store() -> str | None:
        application.database.check_writing()
        return None

    def disk() -> str | None:
        free = shutil.disk_usage(settings.data_dir).free
        return f"the disk of {settings.data_dir} is full" if free < _FULL_BYTES else None

    settings = application.settings
    figures = Figures(application.database, settings.targets, settings.propagation)
    metrics.refresh_with(lambda: _show_windows(metrics, figures.now().windows))
    return HttpServer(
        metrics,
        live={},  # loops start again by themselves: a restart of the process would not help them
        ready={**ready, "store": store, "disk": disk},
        figures=figures.now,
        host=settings.http.host,
        port=port,
    )


def _show_windows(metrics: Metrics, windows: Windows) -> None:
    metrics.window_seconds.clear()
    metrics.window_students.clear()
    for start, spans in windows.items():
        for span, of in spans.items():
            series = {("all", "all"): of.all} if of.all is not None else {}
            series |= {(target, "all"): each for target, each in of.targets.items()}
            series |= {("all", cohort): each for cohort, each in of.cohorts.items()}
            for (target, cohort), each in series.items():
                metrics.window_students.labels(start, span, target, cohort).set(each.students)
                for quantile, seconds in (("0.5", each.p50), ("0.95", each.p95), ("0.99", each.p99)):
                    metrics.window_seconds.labels(start, span, target, cohort, quantile).set(seconds)


def serve(application: Application, metrics: Metrics, stopping: threading.Event) -> None:
    """Serve the store's gauges, and checks of store and log, until `stopping` is set.

    Raises:
        PortTaken: it cannot be listened on.
    """
    reporter = Reporter(metrics, application.database, process=application.life.owner)
    settings, outbox = application.settings, application.outbox
    metrics.refresh_with(
        reporter.refresh_from(
            outbox, settings.consumers, settings.audit.receivers, canary=settings.canary.is_set
        )
    )

    def log() -> str | None:
        application.log.end_offsets(catalogue.ACCOUNTS)
        return None

    server = health_server(application, metrics, {"log": log})
    server.start()
    try:
        while not stopping.wait(1.0):
            pass
    finally:
        server.stop()
        structlog.get_logger().info("stopped")
