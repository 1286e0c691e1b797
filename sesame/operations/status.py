"""One person, in one look: the account, each target, and who the number goes on as."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipeline.errors import SesameError
from schemas.account import Hold
from sesame.operations.acts import Actor, act
from sesame.operations.diagnosis.person import PersonStatus, person_status
from sesame.operations.known_persons import NoSuchStudent, known
from sesame.operations.ports import Following


class HeldInDoubt(SesameError):
    """This student number may be somebody's second one, or is held by an operator: no account is made for it.
    `sesame identities show STUDENT` shows who it may be, and how to decide it."""


@act("status.show")
def show(
    site: Following,
    _actor: Actor,
    student_number: str,
    *,
    merged: Callable[[str], None] = lambda _other: None,
) -> PersonStatus:
    """Where a student stands; of one who was merged and has no account, whom the number goes on as.

    Args:
        merged: called with the number that this one goes on as, as an operator decided.

    Raises:
        NoSuchStudent, HeldInDoubt: there is no account.
    """
    database, targets = site.database, site.settings.targets
    with database.read() as connection:
        look = partial(person_status, connection, database, targets=targets, follows=site.follows)
        person, found = known(connection, database, student_number), look(student_number)
        other = person.merged_into if person is not None else None
        if other is not None and found is None:
            found = look(other)
    if other is not None:
        merged(other)
    if found is not None:
        return found
    held = person is not None and Hold.TECHNICAL in person.holds
    raise (HeldInDoubt if held else NoSuchStudent)(f"no account for student number {student_number!r}")
