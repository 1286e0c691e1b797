"""Reads an export of JSON lines: one object per line, in UTF-8 (RFC 8259), in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from producers.registrar.faults import Fault, UnusableFile
from producers.registrar.physical import (
    LINES_MAX,
    Digest,
    Layout,
    Line,
    first_line,
    lines_below,
    state_before,
    survey,
    too_long,
)

_ONE_PER_LINE = "Write one object per line, as `jq -c '.[]' FILE` does."
_KINDS = {bool: "true or false", float: "a number with a fraction", list: "a list", dict: "an object"}


def examine(path: Path, columns: Sequence[str], encoding: str = "") -> Layout:
    """Make sure that the file looks like JSON lines about enrolments, reading it once in chunks.

    Raises:
        UnusableFile: it cannot be read, is empty, is something else, or has none of `columns`.
    """
    try:
        state = state_before(path)
        found, lines, _start = survey(path)
        encoding = encoding or (found if found.startswith("utf-8") else "utf-8")  # JSON is nothing else
        number, text = first_line(path, encoding)
    except OSError as error:
        raise UnusableFile(
            f"{path}: cannot be read: {error.strerror or error}",
            remedy="Check the name and the rights of the file.",
        ) from error
    if lines > LINES_MAX:
        raise UnusableFile(f"{path}: more than {LINES_MAX} lines", remedy="Split the export by period.")
    _refuse_what_is_no_object(path, number, text.strip(), columns)
    return Layout(encoding, "", (), 0, lines, state)


def _refuse_what_is_no_object(path: Path, number: int, text: str, columns: Sequence[str]) -> None:
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


def read(
    path: Path, layout: Layout, columns: Sequence[str], *, digest: Digest | None = None
) -> Iterator[Line]:
    """The objects of the file; blank lines are skipped.

    Args:
        path: the export.
        layout: as `examine` found it.
        columns: whose values are wanted, in this order; null and what is missing are empty.
        digest: updated with every byte of the file.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    for number, text, whole in lines_below(path, layout, digest):
        if not whole:
            yield too_long(number, text)
        elif text.strip():
            yield _parse(number, text, columns)


def _parse(number: int, text: str, columns: Sequence[str]) -> Line:
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
