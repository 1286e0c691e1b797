"""A mapping file: a profile of the site's own, in TOML, for any other export.

```toml
name = "scolarite"        # the feed's name in the events
form = "delimited"        # or json_lines
payment_required = false
one_name = false         # true: who has no family name, or no given name, has one name only

[file]                   # each may be left out: then it is found out
encoding = "cp850"
separator = "|"
header_line = 4
footer_lines = 1
sheet = "Inscriptions"
number_pattern = "[0-9]{8}"

[fields]
student_number = "NUM_ETU"                                      # a column
step = { join = "{DIPLOME}{NIVEAU}" }                           # several
step_version = { column = "VERSION", default = "1" }            # a default
year = { constant = "2026" }                                    # no column
state = { column = "ETAT", values = { "Inscrit" = "in_force", "Annulé" = "cancelled" } }

[groups]                 # of the second file, of teaching units and groups
form = "delimited"
[groups.fields]
student_number = "NUM_ETU"
year = { constant = "2026" }
element = "UE"
group = "GROUPE"
```
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel

from pipeline.errors import SesameError, system_words
from producers.registrar.encodings import ENCODINGS
from producers.registrar.headers import SEPARATORS
from producers.registrar.profile import Column, FeedProfile, FileForm, FileOptions
from producers.registrar.rows import EnrolmentRow, TeachingRow
from schemas.account import STAFF_PREFIX
from schemas.language import gettext

BYTES_MAX = 1_000_000
LINES_NAMED_MAX = 1000
_TOP = ("name", "form", "payment_required", "one_name", "file", "fields", "groups")
_GROUPS = ("form", "file", "fields")
_NAMES = ("birth_name", "given_name")
_FILE = ("encoding", "separator", "header_line", "footer_lines", "sheet", "number_pattern")
_PARTS = ("column", "join", "constant", "values", "default")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # schemas.scalars.Token
_RESERVED_NAMES = ("apogee", "pegase", "staff")
_OF_STUDENTS = ("year", "step", "step_version", "step_label", "primary", "state", "pedagogical")
"""Fields that a file of people who are not students need not have."""
_TOML_PLACE = re.compile(r"at line (?P<line>\d+), column (?P<column>\d+)")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class MappingUnusable(SesameError):
    """The mapping file cannot be used. The lines below say which key, and what it may be; nothing was read of
    the export."""

    exit_code = 2
    remedy = (
        "docs/reference/mapping.md describes the file; `sesame import FILE --explain` shows what it gives."
    )


Fields = Mapping[str, tuple[bool, tuple[str, ...]]]
"""Every field: whether it is required, and its words if it takes no others."""


def _fields(row: type[BaseModel], required: tuple[str, ...] = (), **words: tuple[str, ...]) -> Fields:
    state = get_args(row.model_fields["state"].annotation)
    words |= {"state": state}
    return MappingProxyType(
        {
            name: (field.is_required() or name in required, words.get(name, ()))
            for name, field in row.model_fields.items()
        }
    )


FIELDS = _fields(
    EnrolmentRow,
    required=_NAMES,
    primary=("true", "false"),
    ine_provisional=("true", "false"),
    payment=("awaiting", "paid"),
    pedagogical=("validated", "pending"),
)
"""The fields that a mapping fills."""

GROUP_FIELDS = _fields(TeachingRow)
"""The fields that a mapping fills for the file of teaching units and groups."""


def read_mapping(path: Path) -> FeedProfile:
    """Read a mapping file's profile. Raises MappingUnusable: a line for each fault, with what is right."""
    return _read(path, lambda reading, document: reading.profile(document))


def read_groups_mapping(path: Path, *, suffix: str) -> FeedProfile:
    """Read a mapping file's [groups]; `suffix`: of the feed's name. Raises MappingUnusable."""
    return _read(path, lambda reading, document: reading.groups_profile(document, suffix))


def _read(path: Path, made: Callable[[_Reading, Mapping[str, Any]], FeedProfile | None]) -> FeedProfile:
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
        document = tomllib.loads(unicodedata.normalize("NFC", raw.decode("utf-8-sig")))
    except OSError as error:
        why = system_words(error)
        raise MappingUnusable(gettext("{path}: cannot be read: {why}", path=path, why=why)) from error
    except UnicodeDecodeError as error:
        raise MappingUnusable(gettext("{path}: this is not UTF-8, as TOML is", path=path)) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if place := _TOML_PLACE.search(str(error)):
            what = gettext(
                "{path}, line {line}, column {column}: this is not TOML", path=path, **place.groupdict()
            )
        else:
            what = gettext("{path}: this is not TOML", path=path)
        raise MappingUnusable(what) from error
    if len(raw) > BYTES_MAX:
        raise MappingUnusable(gettext("{path}: larger than {limit} bytes", path=path, limit=BYTES_MAX))
    reading = _Reading()
    profile = made(reading, document)
    if profile is None or reading.faults:
        head = gettext("{path}:", path=path)
        raise MappingUnusable("\n".join([head, *(f"  {fault}" for fault in reading.faults)]))
    return profile


class _Reading:
    """Reads one mapping file; gathers all its faults."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def _refuse(self, place: str, what: str) -> None:
        self.faults.append(gettext("{place}: {what}", place=place, what=what))

    def groups_profile(self, document: Mapping[str, Any], suffix: str) -> FeedProfile | None:
        """The profile of the second file. The first one's part may be missing."""
        self._unknown("", document, _TOP)
        name = self._name(document)
        groups = document.get("groups")
        if not isinstance(groups, dict):
            self._refuse(
                "groups", gettext("a table [groups] is required for a file of teaching units and groups")
            )
            return None
        self._unknown("groups.", groups, _GROUPS)
        form = self._form("groups.form", groups)
        fields = groups.get("fields")
        if not isinstance(fields, dict):
            self._refuse("groups.fields", gettext("a table [groups.fields] is required: one line per field"))
            return None
        columns = tuple(self._columns("groups.fields", fields, GROUP_FIELDS))
        file = self._file("groups.file", groups)
        return None if self.faults else FeedProfile(f"{name}{suffix}"[:64], columns, form=form, **file)

    def _name(self, document: Mapping[str, Any]) -> str:
        name = document.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._refuse("name", gettext("required: small letters, digits and _, a letter first, at most 64"))
        elif name in _RESERVED_NAMES:
            self._refuse(
                "name", gettext("{name} is the name of another profile; choose one of your own", name=name)
            )
        return str(name)

    def _form(self, place: str, document: Mapping[str, Any]) -> FileForm:
        form = document.get("form", FileForm.DELIMITED.value)
        if form in list(FileForm):
            return FileForm(form)
        self._refuse(place, _either(list(FileForm)))
        return FileForm.DELIMITED

    def _file(self, place: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The table [file] as arguments of a profile."""
        given = document.get("file", {})
        if not isinstance(given, dict):
            self._refuse(place, gettext("a table [{table}]", table=place))
            return {}
        self._unknown(f"{place}.", given, _FILE)
        encoding, form, separator, sheet = (
            self._text(place, given, part) if part != "separator" else self._separator(place, given)
            for part in ("encoding", "number_pattern", "separator", "sheet")
        )
        if encoding and encoding not in ENCODINGS:
            self._refuse(f"{place}.encoding", _either(ENCODINGS))
        try:
            re.compile(form)
        except re.error as error:
            self._refuse(
                f"{place}.number_pattern",
                gettext("no regular expression, at character {place}", place=(error.pos or 0) + 1),
            )
        numbers = {}
        for part in ("header_line", "footer_lines"):
            number = given.get(part, 0)
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= LINES_NAMED_MAX:
                self._refuse(
                    f"{place}.{part}", gettext("a whole number up to {limit}", limit=LINES_NAMED_MAX)
                )
            numbers[part] = number
        options = FileOptions(separator=separator, sheet=sheet, **numbers)
        return {"encoding": encoding, "student_number": form, "file": options}

    def _separator(self, place: str, given: Mapping[str, Any]) -> str:
        separator = given.get("separator", "")
        if "separator" in given and separator not in SEPARATORS:
            self._refuse(f"{place}.separator", gettext("one of ; , | and \\t"))
        return str(separator)

    def profile(self, document: Mapping[str, Any]) -> FeedProfile | None:
        self._unknown("", document, _TOP)
        name = self._name(document)
        form = self._form("form", document)
        payment = document.get("payment_required", False)
        if not isinstance(payment, bool):
            self._refuse("payment_required", gettext("true or false"))
        one_name = document.get("one_name", False)
        if not isinstance(one_name, bool):
            self._refuse("one_name", gettext("true or false"))
        fields = document.get("fields")
        if not isinstance(fields, dict):
            self._refuse("fields", gettext("a table [fields] is required: one line per field"))
            return None
        known = dict(FIELDS)
        if one_name is True and not fields.keys().isdisjoint(_NAMES):
            known |= dict.fromkeys(_NAMES, (False, ()))
        others = "population" in fields
        if others:
            known |= {name: (False, words) for name, (_, words) in known.items() if name in _OF_STUDENTS}
        columns = tuple(self._columns("fields", fields, known))
        file = self._file("file", document)
        if payment is True and "payment" not in fields:
            self._refuse("fields.payment", gettext("required with payment_required = true"))
        if self.faults:
            return None
        return FeedProfile(
            name,
            columns,
            payment_required=payment is True,
            one_name=one_name is True,
            form=form,
            prefix=STAFF_PREFIX if others else "",
            **file,
        )

    def _columns(self, table: str, given: Mapping[str, Any], fields: Fields) -> Iterable[Column]:
        self._unknown(f"{table}.", given, tuple(fields))
        for field, (required, words) in fields.items():
            if field in given:
                column = self._column(table, field, given[field], words)
                if column is not None:
                    yield column
            elif required:
                self._refuse(f"{table}.{field}", gettext("required: name a column, or give a constant"))

    def _column(self, table: str, field: str, given: Any, words: tuple[str, ...]) -> Column | None:
        place = f"{table}.{field}"
        if isinstance(given, str):
            given = {"column": given}
        if not isinstance(given, dict):
            self._refuse(place, gettext('a column\'s name, or a table like { column = "…" }'))
            return None
        self._unknown(f"{place}.", given, _PARTS)
        sources = [part for part in ("column", "join", "constant") if part in given]
        if len(sources) != 1:
            self._refuse(place, gettext("exactly one of column, join and constant is needed"))
            return None
        source = self._text(place, given, sources[0])
        default = self._text(place, given, "default")
        values = self._values(place, given.get("values"), words)
        if sources[0] == "constant":
            if "default" in given or "values" in given:
                self._refuse(place, gettext("a constant takes neither default nor values"))
            source, default = "", source
        if sources[0] == "join" and (not _PLACEHOLDER.search(source) or _braces(source)):
            self._refuse(f"{place}.join", gettext('names columns in braces, like "{DIPLOME}{NIVEAU}"'))
        if default and words and default not in words:
            key = "constant" if sources[0] == "constant" else "default"
            self._refuse(f"{place}.{key}", _either(words))
        if sources[0] == "join":
            return Column(field, values=values, default=default, template=source)
        return Column(field, source, values, default)

    def _text(self, place: str, given: Mapping[str, Any], part: str) -> str:
        """A text; whole numbers and booleans become what an export would have."""
        value = given.get(part)
        if part not in given:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            self._refuse(f"{place}.{part}", gettext("a text that is not empty"))
            return ""
        return value.strip()

    def _values(self, place: str, given: Any, words: tuple[str, ...]) -> Mapping[str, str] | None:
        if given is None:
            return None
        if not isinstance(given, dict) or not given:
            self._refuse(f"{place}.values", gettext("a table of the export's words and their meanings"))
            return None
        found = {}
        for word, meaning in given.items():
            text = ("true" if meaning else "false") if isinstance(meaning, bool) else str(meaning)
            if isinstance(meaning, dict | list) or not text or (words and text not in words):
                right = _either(words) if words else gettext("a text")
                self._refuse(
                    f"{place}.values.{word!r}",
                    gettext("means {meaning}; it must be {right}", meaning=repr(text), right=right),
                )
            found[word.strip()] = text
        return MappingProxyType(found)

    def _unknown(self, place: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                self._refuse(
                    f"{place}{key}",
                    gettext("unknown; did you mean {name}?", name=near[0])
                    if near
                    else gettext("unknown; known are {names}", names=", ".join(known)),
                )


def _braces(text: str) -> bool:
    """True if there are braces that name no column."""
    return bool(re.search(r"[{}]", _PLACEHOLDER.sub("", text)))


def _either(words: Iterable[str]) -> str:
    return gettext("one of {words}", words=", ".join(words))
