"""What a turn would write of one student, from what was read. Pure, without IO."""

from __future__ import annotations

from consumers.moodle.causes import MoodleCause, MoodleFault
from consumers.moodle.port import Seen, Wanted
from consumers.moodle.work import Work
from pipeline.target import Preview


def preview_of(wanted: Wanted | MoodleFault, seen: Seen, fault: MoodleFault | None = None) -> Preview:
    """The difference, by Moodle's own names; `user`: there is none with this student number.

    Args:
        wanted: the desired state, or why there is none.
        seen: the student, as read.
        fault: what stands in the way on the site.
    """
    obstacle = "" if fault is None else fault.cause.value
    if isinstance(wanted, MoodleFault):
        return Preview(obstacle=wanted.cause.value)
    joining = tuple(f"+{key}" for key in wanted.cohorts if key not in seen.cohorts)
    if not seen.users:
        return Preview(("user", *joining), obstacle) if wanted.create else Preview()
    if len(seen.users) > 1:
        return Preview(obstacle=MoodleCause.DUPLICATE_IDNUMBER.value)
    fields = Work(wanted, seen.users).differing()
    leaving = tuple(f"-{key}" for key in seen.cohorts if key not in wanted.cohorts)
    return Preview((*fields, *joining, *leaving), obstacle)
