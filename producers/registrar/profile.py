"""Profiles: how one registrar's export expresses an enrolment.

A profile is data: which columns feed which field, and what their codes mean. `rows` validates the fields
and knows nothing of any export.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    """How a file is written."""

    DELIMITED = "delimited"  # CSV with a header
    JSON_LINES = "json_lines"  # one object per line


@dataclass(frozen=True)
class FileOptions:
    """Known properties of a delimited file, which need not be detected.

    Attributes:
        separator: between the cells; empty: it is found out.
        header_line: the header's line number; 0: it is looked for.
        footer_lines: how many lines at the end, empty ones aside, state nothing; 0: it is found out.
        sheet: the spreadsheet's sheet; empty: the only one that holds anything.
    """

    separator: str = ""
    header_line: int = 0
    footer_lines: int = 0
    sheet: str = ""


@dataclass(frozen=True)
class Column:
    """Where one field comes from.

    Attributes:
        field: a field of `rows.EnrolmentRow`.
        name: the export's column; empty when there is none, and the field is `default` on every line.
        values: what the column's codes mean; any other code is a fault. None: the value is taken as it is.
        default: taken where the export has no value.
        template: text with {columns} in it, instead of `name`; without a value of one of them, it has none.
        convert: makes the value readable; leaves it alone if it cannot.
    """

    field: str
    name: str = ""
    values: Mapping[str, str] | None = None
    default: str = ""
    template: str = ""
    convert: Callable[[str], str] | None = None

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
        """The value that the cells of `names` give; empty when there is none."""
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
        payment_required: whether an enrolment that awaits payment opens no account yet.
        one_name: whether an empty family name or given name says that the person has one name only;
            otherwise it is a fault.
        form: how the file is written.
        encoding: of the file, as `encodings.ENCODINGS` names it; empty: it is found out.
        file: what else is known of it.
        student_number: a regular expression, the form of a student number at this site; empty: any.
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
    year_max: int = 2100

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The export's columns, in the order that `take` wants their values in."""
        return tuple(dict.fromkeys(name for column in self.columns for name in column.names))

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
        """The fields of one line, without empty ones, and its unknown codes.

        Args:
            cells: the line's values in the order of `column_names`, without outer blanks.
        """
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
