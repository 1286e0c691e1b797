"""`sesame diagnose`: why something does not work for one person, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited
from sesame.cli.options import json_option
from sesame.cli.output import data_console, write_json

if TYPE_CHECKING:
    from sesame.operations.diagnosis.engine import Diagnosis
    from sesame.operations.diagnosis.rules import Finding
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
    from sesame.operations.diagnosis.engine import diagnose as look

    app = context.looking
    found = look(app, student, live=not no_live)
    audited(app.database, "diagnose", student_number=student, live=found.live)
    if as_json:
        write_json(found.document(language))
    else:
        show(found, language)


def show(found: Diagnosis, language: Language) -> None:
    """Write a diagnosis to standard output."""
    from rich.text import Text

    console = data_console()
    for cause, finding in zip(found.for_student(language).causes, found.findings, strict=True):
        since = f", since {cause.since.astimezone():%Y-%m-%d %H:%M:%S}" if cause.since is not None else ""
        colour = _COLOURS[cause.weight]
        console.print(Text.assemble((f"{cause.weight:<7}", colour), f" {cause.service}: {cause.rule}{since}"))
        console.print(f"{_INDENT}{cause.cause}")
        console.print(f"{_INDENT}-> {cause.todo} ({cause.who}; {cause.delay})")
        for line in evidence_lines(finding):
            console.print(f"{_INDENT}{line}")
    for service, why in sorted(found.situation.live.unseen.items()):
        console.print(f"unseen  {service}: {why}")
    if not found.findings:
        console.print("nothing to tell")


def evidence_lines(finding: Finding) -> list[str]:
    """A finding's evidence, a line each; what is not known is left out."""
    return [f"{name}: {value}" for name, value in finding.evidence.items() if value is not None]
