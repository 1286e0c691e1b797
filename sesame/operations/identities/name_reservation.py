"""Reserve the directory's names in the ledger: minting never reuses one of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pydantic import ConfigDict, Field

from consumers.directory.objects import EntryObject
from consumers.registry.ledger import DIRECTORY, SqlLedger
from pipeline.db.database import Database
from sesame.acts.acts import OPERATORS, Actor, Report, act
from sesame.acts.ports import Directories

ENTRIES_PER_TRANSACTION = 500
_KINDS = {
    "login": ("uid",),
    "mail": ("mail", "supannAutreMail"),
    "principal": ("eduPersonPrincipalName",),
}


class Reserved(Report):
    """Result of reading the directory's names.

    Attributes:
        entries: people's entries, students or not.
        names: logins, mail addresses and principal names that they have.
        conflicts: entries with a name that the ledger has for another holder; an operator should look.
    """

    model_config = ConfigDict(frozen=False)  # it is counted up

    entries: int = 0
    names: int = 0
    conflicts: list[str] = Field(default_factory=list)


@act("ledger.refresh", OPERATORS)
def refresh(site: Directories, _actor: Actor) -> Reserved:
    """Put the directory's names into the ledger now; see `reserve_names`."""
    with site.directory() as directory:
        return reserve_names(directory.objects(), site.database)


def reserve_names(entries: Iterator[EntryObject], database: Database) -> Reserved:
    """Reserve every login, mail address and principal name of the directory.

    An entry with exactly one student number holds its names for that student, even if another holder had
    them before: an operator has linked the two. The names of any other entry (staff, doctoral students,
    services) are reserved for that entry. The directory is only read.

    Raises:
        TargetDown, Misconfigured: the directory cannot be read; what was reserved stays.
    """
    found = Reserved()
    while page := list(islice(entries, ENTRIES_PER_TRANSACTION)):
        with database.write() as connection:
            ledger = SqlLedger(connection, database, database.now(connection))
            for entry in page:
                holder = entry.student_numbers[0] if len(entry.student_numbers) == 1 else None
                names = [(kind, value) for kind, where in _KINDS.items() for value in entry.of(*where)]
                free = [ledger.reserve(*name, holder=holder, origin=DIRECTORY) for name in names]
                found.entries += 1
                found.names += len(names)
                if not all(free):
                    found.conflicts.append(entry.dn)
    return found
