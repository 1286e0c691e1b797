"""Shared by the registrar's tests: a writer of exports, and a failing log."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict, Unpack

from pipeline.db.database import Database
from pipeline.eventlog.port import LogUnavailable, NewRecord, TopicPartition
from pipeline.threshold import Threshold
from producers.registrar.acceptance import Acceptance
from producers.registrar.affected import RecordedPersons
from producers.registrar.enrolments import import_file
from producers.registrar.feed_memory import SqlFeedMemory, SqlTeachingMemory
from producers.registrar.guard import Approval
from producers.registrar.import_subject import ImportOptions
from producers.registrar.profile import FeedProfile
from producers.registrar.profiles import apogee, choose_groups
from producers.registrar.report import ImportReport
from producers.registrar.teachings import import_groups
from schemas.envelope import Message, from_record
from sesame.testing.servers.stores import sqlite_store

COLUMNS = apogee().column_names
NOW = datetime(2026, 9, 1, 8, 30, tzinfo=UTC)

ZOE = {
    "COD_ETU": "22600017",
    "COD_NNE_IND": "060904317KT",
    "INE_PROVISOIRE": "",
    "LIB_NOM_PAT_IND": "Lefèvre d'Ormesson",
    "LIB_NOM_USU_IND": "",
    "LIB_PR1_IND": "Zoé",
    "DATE_NAI_IND": "07/03/2008",
    "MAIL_PERSO": "zoe.lefevre@example.org",
    "NUM_TEL_PORT": "",
    "COD_ANU": "2026",
    "COD_ETP": "L1INFO",
    "COD_VRS_VET": "261",
    "COD_CMP": "SCI",
    "LIB_ETP": "Licence 1 Informatique",
    "TEM_IAE_PRM": "O",
    "ETA_IAE": "E",
    "ETA_PMT_IAE": "P",
    "IP_VALIDE": "O",
}
"""A student's line without faults."""

MAMADOU = ZOE | {
    "COD_ETU": "22600018",
    "COD_NNE_IND": "060904318BC",
    "LIB_NOM_PAT_IND": "N'Diaye",
    "LIB_PR1_IND": "Mamadou",
    "DATE_NAI_IND": "2007-11-30",
    "MAIL_PERSO": "",
}

Row = dict[str, str]
SHORT = {"student number": "student", "sesame-fault": "fault", "sesame-change": "change"}
"""The tests' names for columns of the files about an export."""


class RecordedLog:
    """A producer that keeps its records.

    `refuses`: how many of the next appends raise, each after having taken its records.
    """

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.refuses = 0

    def append(self, records: Sequence[NewRecord]) -> list[tuple[TopicPartition, int]]:
        self.records += records
        if self.refuses:
            self.refuses -= 1
            raise LogUnavailable("the disk is slow today")
        return [(TopicPartition(record.topic, 0), offset) for offset, record in enumerate(records)]

    def close(self) -> None:
        """Release nothing."""

    @property
    def messages(self) -> list[Message]:
        return [from_record(record.key, record.headers, record.value) for record in self.records]

    def take(self) -> list[Message]:
        """The messages since the last look."""
        messages = self.messages
        self.records = []
        return messages


class Asked(TypedDict, total=False):
    """An operator's options of an import."""

    dry_run: bool
    republish: bool
    full_year: int | None
    threshold: Threshold | None
    approval: str


class Registrar:
    """Writes exports into a folder and imports them, with a database and a log."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.database = Database(url or sqlite_store(folder))
        self.memory = SqlFeedMemory(self.database)
        self.teachings = SqlTeachingMemory(self.database)
        self.log = RecordedLog()
        self.groups = folder / "groups.csv"
        self.export = folder / "export.csv"
        self.rejects = folder / "rejects.csv"
        self.affected = folder / "affected.csv"
        self.slept_s: list[float] = []
        self.now = NOW
        self.acceptance: Acceptance | None = None
        self.persons: RecordedPersons | None = None
        self.turns: dict[str, int] = {}

    def write(self, rows: Iterable[Row], *, separator: str = ";", encoding: str = "utf-8") -> Path:
        with self.export.open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows([row[column] for column in COLUMNS] for row in rows)
        return self.export

    def import_rows(
        self,
        *rows: Row,
        **asked: Unpack[Asked],
    ) -> ImportReport:
        return self.import_(self.write(rows), **asked)

    def import_(
        self,
        path: Path,
        *,
        profile: FeedProfile | None = None,
        progress: Callable[[int, int | None], None] = lambda _done, _in_all: None,
        **asked: Unpack[Asked],
    ) -> ImportReport:
        return import_file(
            path,
            self._options(asked, self.acceptance),
            profile=profile or apogee(),
            feed=self.memory,
            producer=self.log,
            clock=lambda: self.now,
            progress=progress,
            sleep=self.slept_s.append,
            persons=self.persons,
        )

    def write_groups(self, *lines: str, separator: str = ";", encoding: str = "utf-8") -> Path:
        """Write the second file, of lines of words. They are student, unit, group (`-`: none), year and name.

        The last two may be missing.
        """
        text = [separator.join(("COD_ETU", "COD_ANU", "COD_ELP", "LIB_ELP", "COD_GPE"))]
        for line in lines:
            student, element, group, year, label = (*line.split(" ", 4), "2026", "")[:5]
            text.append(separator.join((student, year, element, label, "" if group == "-" else group)))
        self.groups.write_text("".join(f"{each}\n" for each in text), encoding=encoding)
        return self.groups

    def import_groups(
        self,
        *lines: str,
        path: Path | None = None,
        profile: FeedProfile | None = None,
        **asked: Unpack[Asked],
    ) -> ImportReport:
        return import_groups(
            path or self.write_groups(*lines),
            self._options(asked),
            profile=profile or choose_groups("apogee"),
            feed=self.teachings,
            producer=self.log,
            clock=lambda: self.now,
            progress=lambda _done, _in_all: None,
            sleep=self.slept_s.append,
        )

    def _options(self, asked: Asked, acceptance: Acceptance | None = None) -> ImportOptions:
        approval = asked.get("approval")
        return ImportOptions(
            rejects_path=self.rejects,
            affected_path=self.affected,
            dry_run=asked.get("dry_run", False),
            republish=asked.get("republish", False),
            full_year=asked.get("full_year"),
            threshold=asked.get("threshold") or Threshold(),
            approval=Approval(approval, "odile") if approval else None,
            acceptance=acceptance,
            actor="odile",
            turns=self.turns,
        )

    def rejected(self) -> list[dict[str, str]]:
        """The rejects file, as a spreadsheet reads it."""
        return self._rows(self.rejects)

    def rejected_cells(self) -> list[str]:
        """Every cell of the rejects file, the header's too."""
        with self.rejects.open(encoding="utf-8-sig", newline="") as file:
            return [cell for row in csv.reader(file, delimiter=";") for cell in row]

    def affected_rows(self) -> list[dict[str, str]]:
        return self._rows(self.affected)

    @staticmethod
    def _rows(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                {SHORT.get(name, name): cell for name, cell in row.items()}
                for row in csv.DictReader(file, delimiter=";")
            ]

    def close(self) -> None:
        self.database.close()


GIVEN = ("Zoé", "Inès", "Noël", "Chloé", "Loïc", "Gaëlle", "François", "Aïcha", "Maëlys", "Rémi")


def students(number: int, **changes: str) -> list[Row]:
    """That many students of one step, with distinct names, birth dates and addresses."""
    return [
        ZOE
        | {
            "COD_ETU": f"226{index:05d}",
            "COD_NNE_IND": f"0609{index:05d}KT",
            "LIB_NOM_PAT_IND": f"Lefèvre {index}",
            "LIB_PR1_IND": GIVEN[index % len(GIVEN)],
            "DATE_NAI_IND": f"{index % 28 + 1:02d}/{index // 28 % 12 + 1:02d}/2007",
            "MAIL_PERSO": f"etudiant{index}@example.org",
        }
        | changes
        for index in range(number)
    ]
