"""Who did what, when and why: the audit trail, and what operators wrote with their acts."""

from pipeline.audit.trail import Entry, entries, note

__all__ = ["Entry", "entries", "note"]
