"""What operators see: structured logs, metrics, and the port that serves metrics and health (`http`)."""
