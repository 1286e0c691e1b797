"""`sesame diagnose`: why something does not work for one person, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import data_console, write_json

if TYPE_CHECKING:
    from sesame.operations.diagnosis.engine import DiagnosisReport
    from sesame.operations.diagnosis.rules.base import Language

_COLOURS = {"stops": "red bold", "delays": "yellow", "tells": "cyan"}
_INDENT = " " * 8


def language_option(command: click.decorators.FC) -> click.decorators.FC:
    """`--language`: the command gets `language`."""
    choice = click.Choice(["fr", "en"])
    return click.option(
        "--language", type=choice, default="fr", show_default=True, help="Of the words for the student."
    )(command)


@click.command()
@click.argument("student")
@json_option
@language_option
@click.option("--no-live", is_flag=True, help="Ask no server: only what the store knows.")
@pass_context
def diagnose(context: Context, *, student: str, as_json: bool, language: Language, no_live: bool) -> None:
    """Show why something does not work for STUDENT: each cause with its evidence, who must act, what to do.

    The servers are asked too (entry and password, mailbox and redirection, Moodle's user and cohorts, a login
    by a service account); nothing is changed. Looking is audited.
    """
    from sesame.operations.diagnosis.engine import DiagnosisAsked
    from sesame.operations.diagnosis.engine import show as look

    asked = DiagnosisAsked(student_number=student, language=language, live=not no_live)
    found = look(context.looking, operator(), asked)
    if as_json:
        write_json(found.model_dump())
    else:
        show(found)


def show(found: DiagnosisReport) -> None:
    """Write a diagnosis to standard output."""
    from rich.text import Text

    console = data_console()
    for cause in found.findings:
        since = f", since {cause.since.astimezone():%Y-%m-%d %H:%M:%S}" if cause.since is not None else ""
        colour = _COLOURS[cause.weight]
        console.print(Text.assemble((f"{cause.weight:<7}", colour), f" {cause.service}: {cause.rule}{since}"))
        console.print(f"{_INDENT}{cause.cause}")
        console.print(f"{_INDENT}-> {cause.todo} ({cause.who}; {cause.delay})")
        for name, value in cause.evidence.items():
            if value is not None:
                console.print(f"{_INDENT}{name}: {value}")
    for service, why in sorted(found.unseen.items()):
        console.print(f"unseen  {service}: {why}")
    if not found.findings:
        console.print("nothing to tell")
