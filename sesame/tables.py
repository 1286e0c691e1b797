"""Every room's tables, in the one metadata that the migrations make."""

from __future__ import annotations

from pipeline import lost_records, quarantine, replays
from pipeline.db.tables import metadata
from pipeline.store import (
    charters,
    feeds,
    imports,
    life,
    mail_proofs,
    restore_questions,
    teaching_feeds,
    teachings,
    throttles,
    web_sessions,
)

__all__ = ["ROOMS", "metadata"]

ROOMS = (
    charters,
    feeds,
    imports,
    life,
    lost_records,
    mail_proofs,
    quarantine,
    replays,
    restore_questions,
    teaching_feeds,
    teachings,
    throttles,
    web_sessions,
)
"""The modules that declare tables: importing them declares theirs."""
