"""The event log: one port, and one adapter per technology."""
