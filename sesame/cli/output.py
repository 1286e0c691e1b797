"""Write a command's output: data to standard output, the rest to standard error."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from textwrap import indent
from typing import Any, Final, NamedTuple

import click

from pipeline.errors import SesameError
from schemas.language import gettext, spoken
from sesame.app.lazy import lazily
from sesame.cli.errors import ExitCode

with lazily():
    from rich import console as rich_console
    from rich import measure, progress, table

    from schemas import account

WIDTH_ELSEWHERE = 200  # columns, where there is no terminal to ask: nothing of a table is cut
_WIDTH_MEASURED = 10_000  # columns, more than any table needs
_FOLDED_WIDTH_MIN = 30

_ANSWERS: Final = {
    "en": (frozenset({"y", "yes"}), frozenset({"n", "no", ""})),
    "fr": (frozenset({"o", "oui"}), frozenset({"non"})),
}
"""What is yes, and what is no."""

_LITERAL: Final[dict[str, Any]] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
"""Names of steps and of people are shown as they are, whatever brackets and colons they have."""


def data_console() -> rich_console.Console:
    """Standard output; colours on a terminal only, and not with NO_COLOR.

    Writes nothing if it is closed.
    """
    out = sys.stdout or io.StringIO()
    width = None if out.isatty() else WIDTH_ELSEWHERE
    return rich_console.Console(file=out, width=width, **_LITERAL)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    folded: str = "",
    right: Collection[str] = (),
) -> None:
    """Write a table to standard output. On a narrow terminal its lines run on: no value is cut, so that an id
    or a state can be read, and copied. Elsewhere a row is one line, where what may run on comes last.

    Args:
        columns: their names.
        rows: a value for each column.
        folded: the column of running text, which takes several lines on a terminal with little room.
        right: the columns of numbers.
    """
    made, console = table.Table(box=None, pad_edge=False, header_style="bold"), data_console()
    one_line = not console.is_terminal and folded == columns[-1]  # a row, for what reads it line by line
    for name in columns:
        runs_on = name == folded and not one_line
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=not runs_on,
            overflow="fold",
            min_width=_FOLDED_WIDTH_MIN if runs_on else None,
        )
    for row in rows:
        made.add_row(*row)
    needed = measure.Measurement.get(console, console.options.update(max_width=_WIDTH_MEASURED), made)
    console.width = max(console.width, needed.maximum if one_line else needed.minimum)
    if not one_line:
        console.print(made)
        return
    with console.capture() as printed:
        console.print(made)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def coloured(text: str, colour: str | None, *, bold: bool = False) -> str:
    """Text for `click.echo`, coloured on a terminal only, and never with NO_COLOR."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=bold)


def year_text(year: int) -> str:
    """An academic year, for people; who is meant where there is none."""
    return gettext("staff and guests") if year == account.NO_YEAR else str(year)


def duration(seconds: float) -> str:
    """A duration in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return gettext("{minutes} min {seconds} s", minutes=minutes, seconds=rest) if minutes else f"{rest} s"


def side_console() -> rich_console.Console:
    """Standard error, for progress and remarks."""
    return rich_console.Console(file=sys.stderr, **_LITERAL)


_REMARKS: Final[Counter[str]] = Counter()


def remark(text: str) -> None:
    """Write a line to standard error: what is not data. One made again is counted at the command's end."""
    _REMARKS[text] += 1
    if _REMARKS[text] == 1 or not text:
        click.echo(text, err=True)


def count_remarks() -> None:
    """Say how often each repeated remark was made, and forget them all."""
    for text, n in _REMARKS.items():
        if n > 1 and text:
            click.echo(gettext("{text} ({n} times)", text=text, n=n), err=True)
    _REMARKS.clear()


def confirm(question: str) -> None:
    """Ask on standard error; end the command unless the answer is yes.

    In French `o` and `oui` are yes too.

    Raises:
        click.Abort: it was not answered.
        click.exceptions.Exit: the answer was no.
    """
    yes, no = _ANSWERS["en"]
    shown = "[y/N]: "
    if spoken() == "fr":
        yes, no = yes | _ANSWERS["fr"][0], no | _ANSWERS["fr"][1]
        shown = "[o/N] : "

    def agreed(answer: str) -> bool:
        word = answer.strip().lower()
        if word not in yes | no:
            raise click.UsageError(gettext("invalid input"))
        return word in yes

    asked = click.prompt(
        question, default="", show_default=False, prompt_suffix=f" {shown}", value_proc=agreed, err=True
    )
    if not asked:
        click.echo(gettext("nothing was done"), err=True)
        raise click.exceptions.Exit(int(ExitCode.INTERRUPTED))


class CommandResult(NamedTuple):
    """The outcome of a command.

    Attributes:
        document: for `--json`: a report, or what JSON can say of it. An iterator is written as it comes.
        text: writes the same for people.
        end: what the command ends with: a code, or an error that is reported.
    """

    document: object
    text: Callable[[], object]
    end: ExitCode | SesameError = ExitCode.DONE


def write_json(document: object) -> None:
    """Write one JSON document to standard output."""
    if isinstance(document, Iterator):
        write_json_list(document)
    else:
        click.echo(_json(document))


def write_json_list(documents: Iterable[Mapping[str, Any]]) -> None:
    """Stream a JSON list to standard output: at most one element is in memory."""
    comma = "["
    for document in documents:
        click.echo(f"{comma}\n{indent(_json(document), '  ')}", nl=False)
        comma = ","
    click.echo("[]" if comma == "[" else "\n]")


def _json(document: object) -> str:
    """A document as JSON; escaped where standard output cannot write it."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_plain)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode("utf-8" if encoding.lower().startswith("utf") else "ascii")
    except UnicodeEncodeError:
        return json.dumps(document, indent=2, default=_plain)
    return text


def _plain(value: object) -> object:
    """Convert for JSON: a report to a mapping, a time to ISO 8601, all else to text."""
    if (dump := getattr(value, "model_dump", None)) is not None:
        return dump()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def progress_bar() -> progress.Progress:
    """A progress bar with the time left, on standard error, on a terminal only."""
    console = side_console()
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn(gettext("left:")),
        progress.TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
