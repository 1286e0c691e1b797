"""Show how an export's first lines are read: each field's columns, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from producers.registrar import reader, rows
from producers.registrar.faults import REMEDIES, Rejection
from producers.registrar.headers import folded
from producers.registrar.packing import opened
from producers.registrar.physical import Layout, Line
from producers.registrar.profile import Column, FeedProfile
from producers.registrar.rows import Fact
from producers.registrar.sheets import harmless
from schemas.language import gettext


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field of one line.

    Attributes:
        value: as in an event, or empty.
        source: the columns with their contents, or that it is a constant.
    """

    field: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class LineReading:
    """One line: its fields, and its fact or its faults."""

    number: int
    fields: tuple[FieldReading, ...]
    fact: Mapping[str, Any] | None
    rejections: tuple[Rejection, ...]

    def to_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            "line": self.number,
            "fields": {each.field: {"value": each.value, "source": each.source} for each in self.fields},
            "fact": None if self.fact is None else dict(self.fact),
            "faults": [
                {
                    "column": each.column,
                    "fault": each.fault.value,
                    "value": harmless(each.value),
                    "detail": each.detail,
                    "remedy": gettext(REMEDIES[each.fault]),
                }
                for each in self.rejections
            ],
        }


@dataclass(frozen=True, slots=True)
class ImportExplanation:
    """How a file is written, and how its first lines are read.

    Attributes:
        rows: lines that state something; neither titles, nor the header, nor footers.
        ignored: columns of the file that the profile does not use.
    """

    layout: Layout
    rows: int
    ignored: tuple[str, ...]
    lines: tuple[LineReading, ...]


Parse = Callable[[Line, FeedProfile], Fact | list[Rejection]]
"""Parses a line: its fact, or all its faults."""


def explain(
    path: Path, profile: FeedProfile, lines_max: int, *, parse: Parse = rows.parse
) -> ImportExplanation:
    """Read the first lines of an export; compare and publish nothing.

    Args:
        path: the export.
        profile: how to read it.
        lines_max: how many lines.
        parse: of the file's kind.

    Raises:
        UnusableFile: the file as a whole is no such export.
    """
    with opened(path, profile) as source:
        layout = reader.examine(source, profile)
        used = {folded(name) for name in profile.column_names}
        found = reader.read(source, layout, profile)
        lines = tuple(_explained(line, profile, parse) for line in islice(found, lines_max))
        return ImportExplanation(
            layout,
            rows=len(lines) + sum(1 for _ in found),
            ignored=tuple(name for name in layout.header if name and name not in used),
            lines=lines,
        )


def _explained(line: Line, profile: FeedProfile, parse: Parse) -> LineReading:
    parsed = parse(line, profile)
    rejections = tuple(parsed) if isinstance(parsed, list) else ()
    if line.fault is not None:
        return LineReading(line.number, (), None, rejections)
    cells, _ = rows.clean(line.cells, profile)
    taken, _ = profile.take(cells)
    cell_of = dict(zip(profile.column_names, cells, strict=True))
    fact = None if isinstance(parsed, list) else parsed
    fields = tuple(
        FieldReading(
            column.field,
            harmless(_value(column.field, taken, fact)),
            _source(column, [cell_of[name] for name in column.names]),
        )
        for column in profile.columns
    )
    return LineReading(line.number, fields, fact, rejections)


def _value(field: str, taken: Mapping[str, str], fact: Mapping[str, Any] | None) -> str:
    """The field as in the fact (dates in ISO form), or as read if the fact lacks it."""
    value = taken.get(field, "")
    if fact is None or isinstance(fact.get(field), bool | None):
        return value
    return str(fact[field])


def _source(column: Column, cells: Sequence[str]) -> str:
    if not column.names:
        return gettext("constant")
    told = ", ".join(
        f"{name} = {harmless(cell)}" if cell else gettext("{column} is empty", column=name)
        for name, cell in zip(column.names, cells, strict=True)
    )
    return gettext("{columns}; default", columns=told) if column.default and not all(cells) else told
