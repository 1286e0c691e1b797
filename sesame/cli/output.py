"""Where a command's words go: data to standard output, the rest to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

WIDTH_ELSEWHERE = 200  # columns, where there is no terminal to ask: nothing of a table is cut


def data_console() -> Console:
    """Standard output; colours on a terminal only, and not with NO_COLOR."""
    width = None if sys.stdout.isatty() else WIDTH_ELSEWHERE
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)


def side_console() -> Console:
    """Standard error, for progress and remarks."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def write_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON document to standard output."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    """What JSON has no form for: a time as ISO 8601 has it, anything else as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def progress_bar() -> Progress:
    """A progress bar on standard error, shown on a terminal only."""
    console = side_console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
