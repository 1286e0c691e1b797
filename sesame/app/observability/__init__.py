"""What operators see: structured logs, metrics, and the port that serves metrics and health (`http`)."""

from sesame.app.observability.logs import LOG_FIELDS, configure_logs
from sesame.app.observability.metrics import LABELS, Metrics

__all__ = [
    "LABELS",
    "LOG_FIELDS",
    "Metrics",
    "configure_logs",
]
