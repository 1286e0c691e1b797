"""Work that is not tried again by itself, with its cause. What happens to a letter is said on the log too."""

from pipeline.dead_letters.events import (
    Resolution,
    dismiss,
    letter_of,
    record,
    record_unreadable,
    record_work,
    resolve,
    unreadable,
)
from pipeline.dead_letters.rows import (
    NEWER_SUCCESS,
    DeadLetter,
    Which,
    by_id,
    counts,
    each,
    newest_versions,
    of_events,
    prune,
    standing,
    students_with_some,
    unresolved,
)

__all__ = [
    "NEWER_SUCCESS",
    "DeadLetter",
    "Resolution",
    "Which",
    "by_id",
    "counts",
    "dismiss",
    "each",
    "letter_of",
    "newest_versions",
    "of_events",
    "prune",
    "record",
    "record_unreadable",
    "record_work",
    "resolve",
    "standing",
    "students_with_some",
    "unreadable",
    "unresolved",
]
