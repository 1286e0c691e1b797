"""JSON lines: one object per line, in UTF-8 (RFC 8259)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import Line

_ONE_PER_LINE = "Write one object per line, as `jq -c '.[]' FILE` does."
_KINDS = {bool: "true or false", float: "a number with a fraction", list: "a list", dict: "an object"}


def encoding_of(found: str) -> str:
    """What the file is in, given what its bytes look like: JSON is in UTF-8 or in nothing."""
    return found if found.startswith("utf-8") else "utf-8"


def refuse_what_is_no_object(path: Path, number: int, text: str, columns: Sequence[str]) -> None:
    """Refuse a file whose first line is something else.

    Raises:
        UnusableFile: it is not JSON lines, or has none of `columns`.
    """
    if text.startswith("["):
        raise UnusableFile(f"{path}, line {number}: a JSON list, not JSON lines", remedy=_ONE_PER_LINE)
    if text == "{":
        raise UnusableFile(f"{path}, line {number}: an object over several lines", remedy=_ONE_PER_LINE)
    if not text.startswith("{"):
        raise UnusableFile(
            f"{path}, line {number}: this is not JSON lines",
            remedy="For a CSV file choose another profile: apogee, or a mapping of your own.",
        )
    stated = _object(text)
    if isinstance(stated, dict) and not set(stated) & set(columns):
        raise UnusableFile(
            f"{path}, line {number}: none of the expected names is there",
            remedy=f"The profile expects {', '.join(columns)}.",
        )


def parse(number: int, text: str, columns: Sequence[str]) -> Line:
    """The values of `columns` in an object, in this order; null and what is missing are empty."""
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
            detail = f"{column} holds {_KINDS[type(value)]}, not a text"
            return Line(number, (), Fault.BROKEN_JSON, detail, text[:200])
    return Line(number, tuple(cells))


def _object(text: str) -> dict[str, Any] | str:
    """The object that a line states, or what is wrong with it."""
    try:
        stated = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        return "nested too deeply"
    except json.JSONDecodeError as error:
        return f"{error.msg} at character {error.colno}"
    except ValueError as error:
        return str(error)
    return stated if isinstance(stated, dict) else "not an object"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that it has twice would have two readings."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in the object twice")
    return found
