"""Targets that hold people already, and what the store makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select

from consumers.registry.ledger import ledger
from pipeline.eventlog.port import NewRecord
from schemas.events import ReplayRequested
from sesame.acts.acts import Actor, Role
from sesame.operations.questions.adoption import acts, adoptions
from sesame.operations.questions.adoption.acts import AnswerRequest
from sesame.operations.questions.adoption.adoptions import AdoptionAnswer, QuestionRow
from sesame.operations.questions.adoption.adoptions import adoptions as table
from sesame.operations.questions.adoption.run import AdoptionReport, Reader, adopt
from sesame.operations.questions.adoption.sheet import FoundObject
from sesame.testing.servers.registry_kit import RegistryHarness

ALINE = Actor("aline", frozenset({Role.OPERATOR}))
REASON = "seen at the desk"


class Targets:
    """What the targets hold; read as their ports would give it."""

    def __init__(self, desk: RegistryHarness) -> None:
        self._desk = desk
        self.objects: dict[str, list[FoundObject]] = {"directory": [], "mailbox": [], "moodle": []}

    def entry(self, uid: str, *numbers: str, **more: Any) -> FoundObject:
        """An entry; its mail is the uid's, its names Léa Martin's unless given."""
        mail = more.pop("mail", f"{uid}@univ-exemple.fr")
        aliases = more.pop("aliases", ())
        names = (("login", uid.lower()), ("mail", mail), *(("mail", alias) for alias in aliases))
        values = {"family": "Martin", "given": "Léa", **more}
        dn = f"uid={uid},ou=people"
        found = FoundObject("directory", dn.lower(), uid, mail, numbers, names=names, **values)
        return self._put(found)

    def user(self, id_: int, username: str, idnumber: str = "", **more: Any) -> FoundObject:
        mail = more.pop("mail", f"{username}@univ-exemple.fr".lower())
        values = {"family": "Martin", "given": "Léa", **more}
        names = (("login", username.lower()), ("mail", mail))
        numbers = (idnumber,) if idnumber else ()
        return self._put(FoundObject("moodle", str(id_), username, mail, numbers, names=names, **values))

    def mailbox(self, address: str) -> FoundObject:
        return self._put(FoundObject("mailbox", address, "", address, names=(("mail", address),)))

    def replace(self, target: str, *found: FoundObject) -> None:
        self.objects[target] = list(found)

    def _put(self, found: FoundObject) -> FoundObject:
        self.objects[found.target].append(found)
        return found

    def readers(self) -> dict[str, Reader]:
        @contextmanager
        def reading(found: Iterable[FoundObject]) -> Iterator[Iterable[FoundObject]]:
            yield iter(found)

        return {target: lambda found=found: reading(found) for target, found in self.objects.items()}  # type: ignore[misc]

    def adopt(self, *, dry_run: bool = False, report: Path | None = None) -> AdoptionReport:
        return adopt(self.readers(), self._desk.database, actor="aline", dry_run=dry_run, report_path=report)

    def adopt_and_tell_the_registry(self) -> AdoptionReport:
        """As the command does: whose account differs from what was found has it made again."""
        found = self.adopt()
        assert found.written is not None
        for number in found.written.differing:
            self._desk.apply(
                ReplayRequested(
                    student_number=number, consumer="registry", replay_id="adoption", reason_ref="reference"
                ),
                "sesame.activations.bulk",
            )
        return found


def linked(desk: RegistryHarness, target: str) -> dict[str, tuple[str, str]]:
    """Object and evidence by student."""
    with desk.database.read() as connection:
        rows = connection.execute(select(table).where(table.c.target == target))
        return {row.student_number: (row.object, row.evidence) for row in rows}


def asked(desk: RegistryHarness, *states: AdoptionAnswer) -> set[tuple[str, str, str | None]]:
    with desk.database.read() as connection:
        found = adoptions.questions(connection, states or [AdoptionAnswer.OPEN])
    return {(each.target, each.kind, each.student_number) for each in found}


def questions(desk: RegistryHarness) -> list[QuestionRow]:
    with desk.database.read() as connection:
        return adoptions.questions(connection, [AdoptionAnswer.OPEN])


def decide(desk: RegistryHarness, answer: str = "linked", *ids: str) -> list[ReplayRequested]:
    """Answer these questions, or every open one; return the replays asked for."""
    given = {"ids": ids or [each.id for each in questions(desk)], "answer": answer, "reason": REASON}
    appended: list[NewRecord] = []
    site: Any = SimpleNamespace(database=desk.database, producer=SimpleNamespace(append=appended.extend))
    acts.decide(site, ALINE, AnswerRequest.model_validate(given))
    return [ReplayRequested.model_validate_json(record.value) for record in appended]


def held(desk: RegistryHarness) -> dict[tuple[str, str], str | None]:
    with desk.database.read() as connection:
        return {(row.kind, row.value): row.student_number for row in connection.execute(select(ledger))}
