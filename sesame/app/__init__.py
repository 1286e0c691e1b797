"""The application: wiring, processes, background work, observability, doctor."""
