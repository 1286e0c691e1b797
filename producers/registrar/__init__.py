"""The registrar's feed: an export comes in, enrolments recorded and cancelled go out on the log.

`import_file` is the whole interface; profiles say how each registrar writes its exports. The optional second
file, of teaching units and groups, is in `producers.registrar.teachings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.late_names import late_names

if TYPE_CHECKING:
    from producers.registrar.encodings import ENCODINGS
    from producers.registrar.enrolments import import_file
    from producers.registrar.explanation import ImportExplanation, explain
    from producers.registrar.faults import REMEDIES, Fault, UnusableFile
    from producers.registrar.feed import FeedMemory, TeachingMemory
    from producers.registrar.guard import Acceptance, Approval, Threshold, YearFigures
    from producers.registrar.import_steps import ImportOptions
    from producers.registrar.lines import SpoolFailed
    from producers.registrar.mapping import MappingUnusable
    from producers.registrar.profile import FeedProfile
    from producers.registrar.profiles import PROFILES, UnknownProfile, apogee, choose
    from producers.registrar.report import ImportKind, ImportReport

__all__ = [
    "ENCODINGS",
    "PROFILES",
    "REMEDIES",
    "Acceptance",
    "Approval",
    "Fault",
    "FeedMemory",
    "FeedProfile",
    "ImportExplanation",
    "ImportKind",
    "ImportOptions",
    "ImportReport",
    "MappingUnusable",
    "SpoolFailed",
    "TeachingMemory",
    "Threshold",
    "UnknownProfile",
    "UnusableFile",
    "YearFigures",
    "apogee",
    "choose",
    "explain",
    "import_file",
]

__getattr__ = late_names(
    __name__,
    {
        "Acceptance": "guard",
        "Approval": "guard",
        "ENCODINGS": "encodings",
        "Fault": "faults",
        "FeedMemory": "feed",
        "FeedProfile": "profile",
        "ImportExplanation": "explanation",
        "ImportKind": "report",
        "ImportOptions": "import_steps",
        "ImportReport": "report",
        "MappingUnusable": "mapping",
        "PROFILES": "profiles",
        "REMEDIES": "faults",
        "SpoolFailed": "lines",
        "TeachingMemory": "feed",
        "Threshold": "guard",
        "UnknownProfile": "profiles",
        "UnusableFile": "faults",
        "YearFigures": "guard",
        "apogee": "profiles",
        "choose": "profiles",
        "explain": "explanation",
        "import_file": "enrolments",
    },
)
