"""The registrar's feed: an export comes in, enrolments recorded and cancelled go out on the log.

`import_file` is the whole interface; profiles say how each registrar writes its exports.
"""

from producers.registrar.explaining import Explanation, explain
from producers.registrar.faults import REMEDIES, Fault, UnusableFile
from producers.registrar.feed import FeedMemory
from producers.registrar.guard import Approval, Threshold, YearFigures
from producers.registrar.importing import Order, import_file
from producers.registrar.mapping import MappingUnusable
from producers.registrar.profile import Profile, apogee
from producers.registrar.profiles import PROFILES, UnknownProfile, choose
from producers.registrar.report import ImportReport
from producers.registrar.spool import SpoolFailed

__all__ = [
    "PROFILES",
    "REMEDIES",
    "Approval",
    "Explanation",
    "Fault",
    "FeedMemory",
    "ImportReport",
    "MappingUnusable",
    "Order",
    "Profile",
    "SpoolFailed",
    "Threshold",
    "UnknownProfile",
    "UnusableFile",
    "YearFigures",
    "apogee",
    "choose",
    "explain",
    "import_file",
]
