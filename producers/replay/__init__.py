"""Asks one consumer to compare students with its target again, and to write the difference."""

from producers.replay.publish import ReplayReport, ask_again, replay
from producers.replay.selection import Selection, select_students

__all__ = ["ReplayReport", "Selection", "ask_again", "replay", "select_students"]
