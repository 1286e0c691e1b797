"""`sesame diagnose`, `support` and `access`: what the support desk asks about one student."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import data_console, write_json

if TYPE_CHECKING:
    from schemas.language import Language
    from sesame.operations.diagnosis.engine import DiagnosisReport

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
        _show(found)


def _show(found: DiagnosisReport) -> None:
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


@click.command()
@click.argument("code")
@json_option
@language_option
@click.option("--send", is_flag=True, help="Also send the case to its desk by mail, if that was not done.")
@pass_context
def support(context: Context, *, code: str, as_json: bool, language: Language, send: bool) -> None:
    """Show the case of CODE, which a student reads out: as it was found then, and what is found now.

    The servers are asked again; nothing is changed. Looking is audited.
    """
    from sesame.operations.support import cases
    from sesame.web.portal_context import smtp_of

    site, asked = context.looking, cases.CaseAsked(code=code, language=language)
    if send:
        found = cases.send(site, operator(), asked, post=smtp_of(site.settings))
    else:
        found = cases.look(site, operator(), asked)
    if as_json:
        write_json(found.model_dump())
        return
    click.echo(found.text)
    click.echo("Sent to the desk." if found.sent else "Not sent to the desk.")
    click.echo("\nNow:")
    _show(found.now)


@click.command()
@click.argument("student", metavar="STUDENT")
@pass_context
def access(context: Context, student: str) -> None:
    """Print a link by which STUDENT sees where the account stands.

    It works once, within 15 minutes, in one browser, and then shows the page for 15 minutes more. Nothing can
    be changed through it. Whoever follows it sees the page: give it to the student alone. It is noted in the
    audit.
    """
    from sesame.operations.access import AccessRequest, NoAccount
    from sesame.operations.access import access as link_to

    try:
        made = link_to(context.application, operator(), AccessRequest(student_number=student))
    except NoAccount as error:
        raise click.UsageError(str(error)) from error
    click.echo(made.link)
