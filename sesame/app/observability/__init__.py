"""What operators see: structured logs, metrics, the port for metrics and health."""
