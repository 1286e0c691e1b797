"""New persons of a file, and who they may be already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from consumers.registry import identity_doubts
from consumers.registry.doubts import fingerprints
from consumers.registry.people import Identity
from producers.registrar.report import NewPerson
from sesame.acts.acts import Actor, check
from sesame.acts.ports import Stored


def likely_twins(site: Stored, actor: Actor, arrivals: Sequence[NewPerson]) -> dict[str, list[str]]:
    """By new number, others of the registry or the file that may be the same person."""
    check(actor, "import")
    numbers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in arrivals:
        identity = Identity(
            birth_name=each.birth_name,
            given_name=each.given_name,
            birth_date=date.fromisoformat(each.birth_date),
        )
        for print_ in fingerprints(identity, each.ine).items():
            numbers[print_].append(each.student_number)
    with site.database.read() as connection:
        holders = identity_doubts.with_fingerprints(connection, list(numbers)) if numbers else {}
    twins: dict[str, set[str]] = defaultdict(set)
    for print_, mine in numbers.items():
        alike = {*mine, holders.get(print_, mine[0])}
        for number in mine:
            twins[number] |= alike - {number}
    return {number: sorted(others) for number, others in twins.items() if others}
