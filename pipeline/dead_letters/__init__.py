"""Work that is not tried again by itself, with its cause. What happens to a letter is said on the log too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.late_names import late_names

if TYPE_CHECKING:
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

__getattr__ = late_names(
    __name__,
    {
        "DeadLetter": "rows",
        "NEWER_SUCCESS": "rows",
        "Resolution": "events",
        "Which": "rows",
        "by_id": "rows",
        "counts": "rows",
        "dismiss": "events",
        "each": "rows",
        "letter_of": "events",
        "newest_versions": "rows",
        "of_events": "rows",
        "prune": "rows",
        "record": "events",
        "record_unreadable": "events",
        "record_work": "events",
        "resolve": "events",
        "standing": "rows",
        "students_with_some": "rows",
        "unreadable": "events",
        "unresolved": "rows",
    },
)
