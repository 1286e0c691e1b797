"""The application: settings put together, wiring, running, background work, observability, health, doctor."""
