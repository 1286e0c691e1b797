"""Asks one consumer to compare students with its target again, and to write the difference."""

from producers.replay.publish import ReplayReport, replay
from producers.replay.selection import Selection, select_students

__all__ = ["ReplayReport", "Selection", "replay", "select_students"]
