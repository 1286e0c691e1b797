"""The Moodle target: users and cohorts of one Moodle site, over its web services."""

from consumers.moodle.causes import Cause, Fault, Kind
from consumers.moodle.handler import MoodleHandler, moodle_handler
from consumers.moodle.port import Cohort, MoodlePort, Seen, SiteLock, User, Wanted
from consumers.moodle.settings import MoodleSettings

__all__ = [
    "Cause",
    "Cohort",
    "Fault",
    "Kind",
    "MoodleHandler",
    "MoodlePort",
    "MoodleSettings",
    "Seen",
    "SiteLock",
    "User",
    "Wanted",
    "moodle_handler",
]
