"""JSON lines: one object per line, in UTF-8 (RFC 8259)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from producers.registrar.faults import Fault, UnusableFile, refuse_what_is_of_ours
from producers.registrar.physical import Line
from schemas.language import gettext, gettext_noop

_ONE_PER_LINE = gettext_noop("Write one object per line, as `jq -c '.[]' FILE` does.")
_KINDS = {
    bool: gettext_noop("{column} holds true or false, not a text"),
    float: gettext_noop("{column} holds a number with a fraction, not a text"),
    list: gettext_noop("{column} holds a list, not a text"),
    dict: gettext_noop("{column} holds an object, not a text"),
}


def encoding_of(found: str) -> str:
    """The file's encoding, by its bytes: for JSON always a UTF-8 form."""
    return found if found.startswith("utf-8") else "utf-8"


def refuse_what_is_no_object(path: Path, number: int, text: str, columns: Sequence[str]) -> None:
    """Refuse a file whose first line is no JSON object with one of `columns`. Raises UnusableFile."""
    if text.startswith("["):
        raise UnusableFile(
            gettext("{path}, line {line}: a JSON list, not JSON lines", path=path, line=number),
            remedy=_ONE_PER_LINE,
            sent=gettext("a JSON list: send its objects, one in each line"),
        )
    refuse_what_is_of_ours(path, text)
    if text == "{":
        raise UnusableFile(
            gettext("{path}, line {line}: an object over several lines", path=path, line=number),
            remedy=_ONE_PER_LINE,
            sent=gettext("an object over several lines"),
        )
    if not text.startswith("{"):
        raise UnusableFile(
            gettext("{path}, line {line}: this is not JSON lines", path=path, line=number),
            remedy=gettext("For a CSV file choose another profile: apogee, or a mapping of your own."),
            sent=gettext("line {line} is no JSON object", line=number),
        )
    stated = _object(text)
    if isinstance(stated, dict) and not set(stated) & set(columns):
        raise UnusableFile(
            gettext("{path}, line {line}: none of the expected names is there", path=path, line=number),
            remedy=gettext("The profile expects {names}.", names=", ".join(columns)),
            sent=gettext("line {line} has none of {names}", line=number, names=", ".join(columns)),
        )


def student_in(text: str, column: str) -> str:
    """The likely student number of an unreadable line; empty: unknown."""
    found = re.search(rf'"{re.escape(column)}"\s*:\s*"?([A-Za-z0-9][A-Za-z0-9._-]{{0,31}})\b', text)
    return found[1] if found and column else ""


def parse(number: int, text: str, columns: Sequence[str]) -> Line:
    """The values of `columns` in an object, in order; null and missing ones are empty."""
    stated = _object(text)
    if isinstance(stated, str):
        return Line(number, (), Fault.BROKEN_JSON, stated, text[:200])
    cells = []
    for column in columns:
        value = stated.get(column)
        if value is None:
            cells.append("")
        elif isinstance(value, str):
            cells.append(value.strip())
        elif isinstance(value, int) and not isinstance(value, bool):
            cells.append(str(value))
        else:
            detail = gettext(_KINDS[type(value)], column=column)
            return Line(number, (), Fault.BROKEN_JSON, detail, text[:200])
    return Line(number, tuple(cells))


def _object(text: str) -> dict[str, Any] | str:
    """The object of a line, or the reason why it has none."""
    try:
        stated = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        return gettext("nested too deeply")
    except json.JSONDecodeError as error:
        return gettext("no JSON from character {place} on", place=error.colno)
    except _Twice:
        return gettext("a name stands in the object twice")
    except ValueError:  # Python reads no more digits
        return gettext("a number has too many digits")
    return stated if isinstance(stated, dict) else gettext("not an object")


class _Twice(Exception):
    """An object has a name twice: it would have two readings."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; raise `_Twice` if a name is repeated."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found
