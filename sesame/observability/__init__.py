"""What operators see: structured logs, metrics, and the port that serves metrics and health (`http`)."""

from sesame.observability.logs import LOG_FIELDS, configure_logs
from sesame.observability.metrics import LABELS, Metrics

__all__ = [
    "LABELS",
    "LOG_FIELDS",
    "Metrics",
    "configure_logs",
]
