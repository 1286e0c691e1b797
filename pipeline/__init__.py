"""The transport: event log, engine, store, and the loop that joins them."""
