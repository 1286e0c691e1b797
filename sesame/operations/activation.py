"""Activation for students who do not ask themselves: named ones, a list, or everybody who was imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from consumers.registry.people import People
from pipeline.accounts import accounts, numbers_after
from pipeline.db.database import Database
from producers.activation.activation_requests import activate as publish
from schemas.account import Lane
from sesame.operations import acts
from sesame.operations.acts import Actor, Report, act
from sesame.operations.ports import Sealing

_NAMED_MAX = 20  # numbers in one line of the audit; a list is named by its file
_PAGE = 1000

Progress = Callable[[int], None]
"""Told how many students each batch had."""


class ActivationOfAll(BaseModel):
    """How everybody is activated.

    Attributes:
        passwords: student number to password.
        language: of the messages to them; None: the registrar's or the site's.
        republish: ask again for what is not active, for a log that lost it.
        dry_run: count, and do nothing.
    """

    passwords: Mapping[str, str] = Field(default_factory=dict, repr=False)
    language: Literal["fr", "en"] | None = None
    republish: bool = False
    dry_run: bool = False


class Activation(ActivationOfAll):
    """Whom; `file`: the name of the list, for the audit."""

    students: tuple[str, ...]
    file: str | None = None


class Activated(Report):
    """How many were asked for; see `producers.activation.activation_requests.ActivationReport`."""

    requested: int
    already: int
    repeated: int
    without_password: int
    not_known_yet: list[str]
    dry_run: bool


@act("activate")
def activate(
    site: Sealing, actor: Actor, request: Activation, *, clock: Callable[[], datetime], progress: Progress
) -> Activated:
    """Activate these students, as persons, who wait.

    Raises:
        StudentListUnusable: something is no student number; nothing of its batch was published.
        LogUnavailable, StoreUnavailable: try again; what is in doubt is published again.
    """
    students = request.students
    if not request.dry_run:
        acts.note(
            site.database,
            actor,
            "activate",
            students=len(students),
            student_numbers=list(students) if len(students) <= _NAMED_MAX else None,
            file=request.file,
            republish=request.republish,
        )
    return ask_for(site, students, request, Lane.PERSONAL, clock, progress)


@act("activate.all")
def activate_all(
    site: Sealing,
    actor: Actor,
    request: ActivationOfAll,
    *,
    clock: Callable[[], datetime],
    progress: Progress,
) -> Activated:
    """Activate everybody who was imported, in bulk, which waits for persons.

    Raises:
        LogUnavailable, StoreUnavailable: try again; what is in doubt is published again.
    """
    if not request.dry_run:
        acts.note(
            site.database,
            actor,
            "activate",
            students="all",
            student_numbers=[],
            republish=request.republish,
        )
    return ask_for(site, _not_activated(site.database), request, Lane.BULK, clock, progress)


def ask_for(
    site: Sealing,
    students: Iterable[str],
    request: ActivationOfAll,
    lane: Lane,
    clock: Callable[[], datetime],
    progress: Progress = lambda _students: None,
) -> Activated:
    """Ask for these students' accounts, or count them.

    Raises:
        StudentListUnusable, LogUnavailable, StoreUnavailable: as `activate`.
    """
    report = publish(
        students,
        request.passwords,
        lane=lane,
        known=People(site.database),
        database=site.database,
        vault=site.vault,
        producer=site.producer,
        clock=clock,
        hashing=site.settings.activation,
        language=request.language,
        republish=request.republish,
        dry_run=request.dry_run,
        progress=progress,
    )
    return Activated(**asdict(report), dry_run=request.dry_run)


def _not_activated(database: Database) -> Iterator[str]:
    """Everybody who has an account and has not asked for it, by number; read in pages."""
    after = ""
    while True:
        with database.read() as connection:
            page = numbers_after(connection, accounts.c.activated_at.is_(None), after=after, limit=_PAGE)
        if not page:
            return
        yield from page
        after = page[-1]
