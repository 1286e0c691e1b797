"""The application: settings, wiring, observability and the command line."""
