"""Where a command's words go: data to standard output, the rest to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def data_console() -> Console:
    """Standard output; colours on a terminal only, and not with NO_COLOR."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def side_console() -> Console:
    """Standard error, for progress and remarks."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def write_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON document to standard output."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


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
