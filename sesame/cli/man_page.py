"""Every command's help, as a man page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click


def walk(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Every command from `command` down, as a context that knows its full name."""
    shown = {**command.context_settings, "max_content_width": 100, "terminal_width": 100}
    context = click.Context(command, info_name=path, parent=parent, **shown)
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from walk(below, name, context)


class ManPage(click.HelpFormatter):
    """Formats a help as man(7) wants it.

    click-man on PyPI sees no command that is imported late, cuts summaries, and leaves sections out.
    """

    def __init__(self, name: str, version: str, summary: str) -> None:
        super().__init__()
        self.name = name
        self.write(f'.TH "{name.upper()}" 1 "" "sesame {version}"\n')
        self.write_heading("NAME")
        self.write(f"{_escaped(name)} \\- {_escaped(summary)}\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:  # noqa: ARG002
        """Write what is typed."""
        self.write_heading("SYNOPSIS")
        self.write(f".B {_escaped(prog)}\n{_escaped(args)}\n.SH DESCRIPTION\n")

    def write_heading(self, heading: str) -> None:
        """Write a section's name."""
        self.write(f".SH {_escaped(heading.upper())}\n")

    def write_paragraph(self) -> None:
        """Begin a paragraph."""
        self.write(".PP\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        self.write("\n.PP\n".join(_escaped(" ".join(each.split())) for each in text.split("\n\n")) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:  # noqa: ARG002
        """Write terms, each with its meaning."""
        for term, meaning in rows:
            self.write(f".TP\n.B {_escaped(term.strip())}\n{_escaped(meaning)}\n")


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text
