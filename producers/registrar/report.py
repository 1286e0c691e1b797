"""What an import did, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from producers.registrar.faults import Fault


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of one import. lines = recorded + cancelled + unchanged + duplicates + rejected.

    Attributes:
        import_id: None for a dry run.
        lines: lines below the header, without blank ones.
        students: different student numbers among the lines that were taken.
        recorded: enrolments published; for a dry run, that would be.
        cancelled: cancellations published; for a dry run, that would be.
        unchanged: lines that say what was published before.
        duplicates: further copies of a line, word for word the same.
        rejected: lines refused; one line may have several faults.
        faults: how many of each class.
        rejects_path: the rejects file; None when nothing was rejected.
        encoding: as found: `utf-8`, `utf-8-sig`, `windows-1252`.
        separator: as found.
    """

    source: str
    import_id: int | None
    dry_run: bool
    lines: int
    students: int
    recorded: int
    cancelled: int
    unchanged: int
    duplicates: int
    rejected: int
    faults: Mapping[Fault, int] = field(default_factory=dict)
    rejects_path: Path | None = None
    encoding: str = "utf-8"
    separator: str = ";"

    @property
    def published(self) -> int:
        """How many facts were published; for a dry run, would be."""
        return self.recorded + self.cancelled

    def counts(self) -> dict[str, int]:
        """The numbers, for the store and for metrics."""
        return {
            "lines": self.lines,
            "students": self.students,
            "recorded": self.recorded,
            "cancelled": self.cancelled,
            "unchanged": self.unchanged,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
        }

    def to_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            "source": self.source,
            "import_id": self.import_id,
            "dry_run": self.dry_run,
            **self.counts(),
            "faults": {fault.value: count for fault, count in sorted(self.faults.items())},
            "rejects": None if self.rejects_path is None else str(self.rejects_path),
            "encoding": self.encoding,
            "separator": self.separator,
        }
