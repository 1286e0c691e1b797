"""Backups of the embedded store and log: copied online, proved, and restored."""
