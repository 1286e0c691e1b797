"""The audit trail (who did what, when and why) and the operators' notes."""

from pipeline.audit.trail import Entry, entries, note

__all__ = ["Entry", "entries", "note"]
