"""Asks one consumer to compare students with its target again, and to write the difference."""

from producers.replay.requests import (
    Progress,
    ReplayReport,
    ReplayUnderWay,
    ask_again,
    go_on,
    plan,
    progress_of,
    replay,
)
from producers.replay.selection import Selected, Selection, select_students

__all__ = [
    "Progress",
    "ReplayReport",
    "ReplayUnderWay",
    "Selected",
    "Selection",
    "ask_again",
    "go_on",
    "plan",
    "progress_of",
    "replay",
    "select_students",
]
