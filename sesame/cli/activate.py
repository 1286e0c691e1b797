"""`sesame activate`: ask for accounts by command. The portal will publish the same event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import click

from schemas.language import gettext, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import dry_run_option, first_courses_option, json_option, yes_option
from sesame.cli.output import CommandResult, confirm, progress_bar, remark

with lazily():
    from consumers.registry import pending_facts
    from producers.activation import files
    from sesame.app import wiring
    from sesame.operations.access import activation

_SHOWN_MAX = 20


@click.command()
@click.argument("students", nargs=-1, metavar="[STUDENT]...")
@click.option(
    "--from",
    "listed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Students' numbers: one a line, or a CSV with a column student_number and perhaps password.",
)
@click.option("--all", "everybody", is_flag=True, help="Everybody who was imported, behind all others.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Lines of `number:password`, or a CSV; mode 0600.",
)
@click.option("--language", type=click.Choice(["fr", "en"]), help="Language of the messages to them.")
@first_courses_option
@click.option("--republish", is_flag=True, help="Ask again for what is not active, for a log that lost it.")
@dry_run_option
@yes_option
@json_option
@pass_context
def activate(
    context: Context,
    *,
    students: tuple[str, ...],
    listed: Path | None,
    everybody: bool,
    password_file: Path | None,
    language: str | None,
    first_courses: Path | None,
    republish: bool,
    dry_run: bool,
    yes: bool,
) -> CommandResult:
    """Activate STUDENT..., or those of --from FILE, or --all.

    Named students and lists are activated as persons, who wait; --all in bulk, which waits for them. Who was
    activated before is skipped, and counted. A password that a student might not choose is refused, and then
    nobody is activated. Only the password's hash leaves this command, sealed. Noted in the audit.

    Exit code 1 when nobody has the number, 3 when that is so of some: the requests are kept, and go on when
    a file brings them.
    """
    if sum((bool(students), listed is not None, everybody)) != 1:
        raise click.UsageError(gettext("give students' numbers, --from or --all, and one of them only"))
    passwords: Mapping[str, str] = {}
    if listed is not None:
        students, passwords = files.read_students(listed)
    if password_file is not None:
        passwords = {**passwords, **files.read_passwords(password_file)}
    site, actor = context.application, operator()
    if everybody and not yes and not dry_run:
        confirm(gettext("Activate everybody who was imported?"))
    if first_courses is not None and not everybody:
        raise click.UsageError(gettext("--first-courses belongs to --all: a list goes in its own order"))
    request = activation.ActivateAllRequest(
        passwords=passwords,
        language="fr" if language == "fr" else "en" if language == "en" else None,
        republish=republish,
        dry_run=dry_run,
    )
    with progress_bar() as show:
        done_so_far = 0

        def progress(count: int) -> None:
            nonlocal done_so_far
            done_so_far += count
            show(gettext("activating"), done_so_far, None if everybody else len(students))

        if everybody:
            whole = activation.EverybodyRequest(first_courses=first_courses, **dict(request))
            done = activation.activate_all(site, actor, whole, clock=wiring.utc_now, progress=progress)
        else:
            file = None if listed is None else listed.name
            named = activation.Activation(students=students, file=file, **dict(request))
            done = activation.activate(site, actor, named, clock=wiring.utc_now, progress=progress)
    kept_days = pending_facts.PENDING_AGE_S_MAX / 86_400
    return CommandResult(done, partial(_show, done, kept_days=kept_days), _code(done))


def _code(report: activation.Activated) -> ExitCode:
    if not report.not_known_yet:
        return ExitCode.DONE
    alone = report.requested + report.already == len(report.not_known_yet)
    return ExitCode.FAILED if alone else ExitCode.PARTLY


def _show(report: activation.Activated, *, kept_days: float) -> None:
    click.echo("\n".join(_told(report)))
    _warn(report, kept_days=kept_days)


def _told(report: activation.Activated) -> Iterator[str]:
    everybody, asked = report.everybody, report.requested
    if everybody is None:
        figures = {"asked": asked, "already": report.already, "repeated": report.repeated}
        yield (
            gettext("{asked} would be asked for, {already} were before, {repeated} named twice", **figures)
            if report.dry_run
            else gettext("{asked} asked for, {already} were before, {repeated} named twice", **figures)
        )
        return
    earlier = report.already - everybody.active
    yield (
        ngettext("{n} would be asked for", "{n} would be asked for", asked)
        if report.dry_run
        else ngettext("{n} was asked for", "{n} were asked for", asked)
    )
    yield ngettext("{n} was active already", "{n} were active already", everybody.active)
    if earlier:
        yield ngettext(
            "{n} had been asked for, and is not active yet",
            "{n} had been asked for, and are not active yet",
            earlier,
        )
    if everybody.held:
        yield ngettext(
            "{n} is held, and stays shut out until the hold is lifted: see `sesame identities list` for "
            "doubtful identities",
            "{n} are held, and stay shut out until the hold is lifted: see `sesame identities list` for "
            "doubtful identities",
            everybody.held,
        )
    if everybody.not_enrolled:
        yield ngettext(
            "{n} has no enrolment of a year that goes on, and so no account to activate",
            "{n} have no enrolment of a year that goes on, and so no account to activate",
            everybody.not_enrolled,
        )
    if everybody.without_mail:
        yield ngettext(
            "{n} is not active and has no personal address in the registrar's file: nobody can write to them "
            "before their university mailbox is open",
            "{n} are not active and have no personal address in the registrar's file: nobody can write to "
            "them before their university mailbox is open",
            everybody.without_mail,
        )


def _warn(report: activation.Activated, *, kept_days: float) -> None:
    if report.without_password and report.requested > len(report.not_known_yet):
        text = ngettext(
            "{n} has no password, and cannot log in yet",
            "{n} have no password, and cannot log in yet",
            report.without_password,
        )
        remark(text)
    if report.on_their_way:
        text = gettext(
            "imported, and not read by the registry yet; goes on by itself: {students}",
            students=_some(report.on_their_way),
        )
        remark(text)
    if report.not_known_yet:
        text = gettext(
            "Nobody has this student number: {students}. No file that was imported names it. Check it; if it "
            "is right, import the registrar's file that has it.",
            students=_some(report.not_known_yet),
        )
        remark(text)
        if not report.dry_run:
            text = gettext("The request is kept for {days} days until a file does.", days=round(kept_days))
            remark(text)


def _some(students: list[str]) -> str:
    return ", ".join(students[:_SHOWN_MAX]) + ("…" if len(students) > _SHOWN_MAX else "")
