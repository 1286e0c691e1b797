"""`sesame diagnose`, `support`, `access`, `letter`, `unlock`: the support desk, and one student."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, reason_option
from sesame.cli.output import CommandResult, coloured

with lazily():
    from sesame.operations.access import desk_letters, page_links, unlocking
    from sesame.operations.people.diagnosis import engine, words
    from sesame.operations.people.support import cases
    from sesame.web.students import portal_context

_COLOURS: Final = {"stops": "red", "delays": "yellow", "tells": "cyan"}


@click.command()
@click.argument("student")
@json_option
@click.option("--no-live", is_flag=True, help="Ask no server: only what the store knows.")
@pass_context
def diagnose(context: Context, *, student: str, no_live: bool) -> CommandResult:
    """Show why something does not work for STUDENT: each cause with its evidence, who must act, what to do.

    The servers are asked too (entry and password, mailbox and redirection, Moodle's user and cohorts, what
    other targets have, a login by a service account); nothing is changed. Looking is audited.
    """
    found = context.run(engine.show, engine.DiagnosisRequest(student_number=student, live=not no_live))
    return CommandResult(found, partial(_show, found))


def _show(found: engine.DiagnosisReport) -> None:
    """Write a diagnosis to standard output."""
    width = max(len(words.word("weights", weight)) for weight in _COLOURS) + 1
    for cause in found.findings:
        _show_cause(cause, width)
    for opening in found.openings:
        services, who = ", ".join(opening.services), ", ".join(opening.who)
        said = {"services": services, "condition": opening.condition, "who": who}
        click.echo(gettext("opens   {services}: as soon as {condition} ({who})", **said))
    for service, why in sorted(found.unseen.items()):
        click.echo(gettext("unseen  {service}: {why}", service=service, why=why))
    if not found.findings:
        click.echo(gettext("nothing to tell"))


def _show_cause(cause: engine.EvidencedCause, width: int) -> None:
    indent = " " * (width + 1)
    weight = coloured(
        words.word("weights", cause.weight).ljust(width), _COLOURS[cause.weight], bold=cause.weight == "stops"
    )
    what = gettext("{name}: {value}", name=cause.service, value=cause.rule)
    if cause.since is not None:
        what = gettext("{what}, since {time}", what=what, time=local_time(cause.since))
    click.echo(f"{weight} {what}")
    click.echo(f"{indent}{cause.cause}")
    step = gettext("-> {todo} ({who}; {delay})", todo=cause.todo, who=cause.who, delay=cause.delay)
    click.echo(f"{indent}{step}")
    for name, value in cause.evidence.items():
        if value is not None:
            line = gettext("{name}: {value}", name=words.word("evidence", name), value=_shown(value))
            click.echo(f"{indent}{line}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    return local_time(value) if isinstance(value, datetime) else str(value)


@click.command()
@click.argument("code")
@json_option
@click.option("--send", is_flag=True, help="Also send the case to its desk by mail, if that was not done.")
@pass_context
def support(context: Context, *, code: str, send: bool) -> CommandResult:
    """Show the case of CODE, which a student reads out: as it was found then, and what is found now.

    The servers are asked again; nothing is changed. Looking is audited.
    """
    asked = cases.CaseRequest(code=code)
    if send:
        found = context.run(cases.send, asked, post=portal_context.smtp_of(context.settings))
    else:
        found = context.run(cases.look, asked)
    return CommandResult(found, partial(_show_case, found))


def _show_case(found: cases.CaseReport) -> None:
    click.echo(found.text)
    click.echo(gettext("Sent to the desk.") if found.sent else gettext("Not sent to the desk."))
    click.echo("\n" + gettext("Now:"))
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
    try:
        made = context.run_creating(page_links.access, page_links.AccessRequest(student_number=student))
    except page_links.NoAccount as error:
        raise click.UsageError(str(error)) from error
    click.echo(made.link)


@click.command()
@click.argument("student")
@reason_option()
@json_option
@pass_context
def letter(context: Context, *, student: str, reason: str) -> CommandResult:
    """Print a letter with a code, by which STUDENT chooses a password.

    The code works once, for a day, and is announced at every known address of the student. While it may be
    used, the same letter is printed again. Held accounts are refused, and those with a role at the console.
    """
    asked = desk_letters.LetterRequest(student_number=student, reason=reason)
    made = context.run_creating(desk_letters.print_letter, asked)
    return CommandResult(made, lambda: click.echo("\n\n".join(made.texts.values())))


@click.command()
@click.argument("student")
@reason_option()
@json_option
@pass_context
def unlock(context: Context, *, student: str, reason: str) -> CommandResult:
    """Unlock STUDENT's account, which wrong passwords have locked. The password stays.

    Only a lock that ends by itself is removed, and only the one that was read: a hold's stays. A held account
    is refused. Exit code 3: a target may still be locked.
    """
    asked = unlocking.UnlockRequest(student_number=student, reason=reason)
    done = context.run(unlocking.unlock, asked)
    return CommandResult(done, partial(_show_unlocked, done), ExitCode.PARTLY if done.left else ExitCode.DONE)


def _show_unlocked(done: unlocking.UnlockReport) -> None:
    for line in unlocking.lines(done):
        click.echo(line)
