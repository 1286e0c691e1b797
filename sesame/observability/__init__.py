"""What operators see: structured logs, metrics, and the port that serves metrics and health."""

from sesame.observability.http import Check, HttpServer
from sesame.observability.logs import LOG_FIELDS, configure_logs
from sesame.observability.metrics import LABELS, Metrics

__all__ = [
    "LABELS",
    "LOG_FIELDS",
    "Check",
    "HttpServer",
    "Metrics",
    "configure_logs",
]
