"""Write a command's output: data to standard output, the rest to standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import count
from textwrap import indent
from typing import Any, Final, NamedTuple

import click

from pipeline.errors import SesameError
from schemas.language import gettext, spoken
from sesame.app.lazy import lazily
from sesame.cli.errors import ExitCode

with lazily():
    import tabulate  # type: ignore[import-untyped]

    from schemas import account

_FOLDED_WIDTH_MIN = 30
_GAP = 2  # columns between two, in tabulate's plain tables

_ANSWERS: Final = {
    "en": (frozenset({"y", "yes"}), frozenset({"n", "no", ""})),
    "fr": (frozenset({"o", "oui"}), frozenset({"non"})),
}
"""What is yes, and what is no."""


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    folded: str = "",
    right: Collection[str] = (),
) -> None:
    """Write a table to standard output. No value is cut, so that an id or a state can be read, and copied:
    where a terminal is narrow, lines run on. Elsewhere a row is one line.

    Args:
        columns: their names.
        rows: a value for each column.
        folded: the column of running text, which takes several lines on a terminal with little room.
        right: the columns of numbers.
    """
    table = list(rows)
    widths: list[int | None] = [None for _ in columns]
    if folded and sys.stdout is not None and sys.stdout.isatty():
        others = [column for column, name in enumerate(columns) if name != folded]
        taken = sum(max(len(row[column]) for row in (columns, *table)) + _GAP for column in others)
        room = shutil.get_terminal_size().columns - taken
        widths[columns.index(folded)] = max(room, _FOLDED_WIDTH_MIN)
    shown = tabulate.tabulate(
        [[coloured(name, None, bold=True) for name in columns], *table],
        tablefmt="plain",
        colalign=["right" if name in right else "left" for name in columns],
        maxcolwidths=widths,
        disable_numparse=True,
        preserve_whitespace=True,
    )
    click.echo("\n".join(line.rstrip() for line in shown.splitlines()))


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


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show progress on standard error, on a terminal only.

    What it gives is called with a title, how many are done, and of how many, if that is known.
    """
    bars: dict[str, Any] = {}
    with ExitStack() as stack:

        def show(title: str, done: int, total: int | None) -> None:
            if title not in bars:
                stack.close()  # one bar at a time
                bars[title] = stack.enter_context(
                    click.progressbar(
                        count(), label=title, show_pos=True, file=sys.stderr, hidden=not on_terminal()
                    )
                )
            bars[title].length = total
            bars[title].update(done - bars[title].pos)

        yield show


def on_terminal() -> bool:
    """Whether remarks and progress are read as they come, on a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def step_shown(step: str) -> None:
    """Write the step that begins, on a terminal only."""
    if on_terminal():
        click.echo(f"{step} …", err=True)
