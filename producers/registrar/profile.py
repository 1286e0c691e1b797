"""Profiles: how one registrar's export expresses an enrolment.

A profile is data: which columns feed which field, and what their codes mean. `rows` validates the fields and
knows nothing of any export.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from producers.registrar.faults import Fault
from schemas.language import gettext

Problem = tuple[str, Fault, str, str]
"""Field, class of fault, value as read, detail."""

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def known_values(values: Iterable[str]) -> str:
    """The detail of a value that is none of these."""
    return gettext("known values: {values}", values=", ".join(values))


class FileForm(StrEnum):
    """The form of a file."""

    DELIMITED = "delimited"  # CSV with a header
    JSON_LINES = "json_lines"  # one object per line


@dataclass(frozen=True)
class FileOptions:
    """Known properties of a delimited file, which need not be detected.

    Attributes:
        separator: between the cells; empty: detect it.
        header_line: the header's line number; 0: detect it.
        footer_lines: how many lines at the end, empty ones aside, state nothing; 0: detect it.
        sheet: the spreadsheet's sheet; empty: the only one that holds anything.
    """

    separator: str = ""
    header_line: int = 0
    footer_lines: int = 0
    sheet: str = ""


@dataclass(frozen=True)
class Column:
    """The source of one field.

    Attributes:
        field: a field of `rows.EnrolmentRow`.
        name: the export's column; empty: none, and the field is `default` on every line.
        values: the meanings of the column's codes; any other code is a fault. None: take the value as it is.
        default: the value where the export has none.
        template: text with {columns} in it, instead of `name`; if one of them is empty, so is the field.
        convert: makes the value readable; leaves it alone if it cannot.
        optional: a header may lack the column.
    """

    field: str
    name: str = ""
    values: Mapping[str, str] | None = None
    default: str = ""
    template: str = ""
    convert: Callable[[str], str] | None = None
    optional: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The export's columns that it is made of."""
        if self.template:
            return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.template)))
        return (self.name,) if self.name else ()

    @property
    def shown(self) -> str:
        """The columns, for people."""
        return " + ".join(self.names)

    def read(self, cells: Sequence[str]) -> str:
        """The value of the cells of `names`, or empty."""
        if not self.template:
            return cells[0] if cells else ""
        if not all(cells):
            return ""
        by_name = dict(zip(self.names, cells, strict=True))
        return _PLACEHOLDER.sub(lambda found: by_name[found[1]], self.template)


@dataclass(frozen=True)
class FeedProfile:
    """One kind of export.

    Attributes:
        name: the source named in the events; a feed's memory belongs to it.
        columns: in any order; the file may have more.
        payment_required: an enrolment that awaits payment opens no account yet.
        one_name: an empty family or given name means that the person has one name only; otherwise it is a
            fault.
        form: how the file is written.
        encoding: of the file, a key of `encodings.ENCODINGS`; empty: detect it.
        file: its other known properties.
        student_number: a regular expression, the form of a student number at this site; empty: any.
        prefix: begins the numbers of people who are not students; empty: students.
        populations: the labels of those whom it may name, if they are not students.
        year_max: the last academic year that is plausible.
    """

    name: str
    columns: tuple[Column, ...]
    payment_required: bool = True
    one_name: bool = False
    form: FileForm = FileForm.DELIMITED
    encoding: str = ""
    file: FileOptions = FileOptions()
    student_number: str = ""
    prefix: str = ""
    populations: Mapping[str, str] = field(default_factory=dict)
    year_max: int = 2100

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The export's columns, in the order of the values for `take`."""
        return tuple(dict.fromkeys(name for column in self.columns for name in column.names))

    @cached_property
    def needed_names(self) -> tuple[str, ...]:
        """The columns that a header must name."""
        return tuple(
            dict.fromkeys(name for column in self.columns if not column.optional for name in column.names)
        )

    @cached_property
    def _plan(self) -> tuple[tuple[Column, tuple[int, ...]], ...]:
        places = {name: place for place, name in enumerate(self.column_names)}
        return tuple((column, tuple(places[name] for name in column.names)) for column in self.columns)

    def column_of(self, field: str) -> str:
        """The export's column for a field; empty if the profile has none."""
        return next((column.shown for column in self.columns if column.field == field), "")

    def place_of(self, field: str) -> int | None:
        """The place of a field's single column in `column_names`; None: none or several."""
        names = next((column.names for column in self.columns if column.field == field), ())
        return self.column_names.index(names[0]) if len(names) == 1 else None

    @cached_property
    def field_of(self) -> Mapping[str, str]:
        """The field that each of the export's columns feeds; of several, the first one."""
        found: dict[str, str] = {}
        for column in self.columns:
            for name in column.names:
                found.setdefault(name, column.field)
        return found

    def take(self, cells: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
        """A line's fields and unknown codes. `cells`: stripped, in order of `column_names`."""
        fields: dict[str, str] = {}
        problems: list[Problem] = []
        for column, places in self._plan:
            value = cells[places[0]] if column.name else column.read([cells[place] for place in places])
            if value and column.convert is not None:
                value = column.convert(value)
            if value and column.values is not None:
                if value not in column.values:
                    known = known_values(column.values)
                    problems.append((column.field, Fault.UNKNOWN_VALUE, value, known))
                    continue
                value = column.values[value]
            if value := value or column.default:
                fields[column.field] = value
        return fields, problems
