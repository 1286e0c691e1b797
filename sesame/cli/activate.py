"""`sesame activate`: ask for accounts by command. The portal will publish the same event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.language import gettext
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import confirm, progress_bar, write_json

if TYPE_CHECKING:
    from sesame.operations.activation import Activated

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
    republish: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Activate STUDENT..., or those of --from FILE, or --all.

    Named students and lists are activated as persons, who wait; --all in bulk, which waits for them. Who was
    activated before is skipped, and counted. Only the password's hash leaves this command, sealed. Noted in
    the audit.
    """
    from producers.activation.files import read_passwords, read_students
    from sesame.app.wiring import utc_now
    from sesame.operations import activation
    from sesame.operations.activation import Activation, ActivationOfAll

    if sum((bool(students), listed is not None, everybody)) != 1:
        raise click.UsageError("give students' numbers, --from or --all, and one of them only")
    passwords: Mapping[str, str] = {}
    if listed is not None:
        students, passwords = read_students(listed)
    if password_file is not None:
        passwords = {**passwords, **read_passwords(password_file)}
    site, actor = context.application, operator()
    if everybody and not yes and not dry_run:
        confirm(gettext("Activate everybody who was imported?"))
    request = ActivationOfAll(
        passwords=passwords,
        language="fr" if language == "fr" else "en" if language == "en" else None,
        republish=republish,
        dry_run=dry_run,
    )
    with progress_bar() as bar:
        task = bar.add_task("activating", total=None if everybody else len(students))

        def progress(count: int) -> None:
            bar.advance(task, count)

        if everybody:
            done = activation.activate_all(site, actor, request, clock=utc_now, progress=progress)
        else:
            file = None if listed is None else listed.name
            named = Activation(students=students, file=file, **dict(request))
            done = activation.activate(site, actor, named, clock=utc_now, progress=progress)
    _say(done, as_json=as_json)


def _say(report: Activated, *, as_json: bool) -> None:
    if as_json:
        write_json(report.model_dump())
        return
    verb = "would be activated" if report.dry_run else "activated"
    click.echo(f"{report.requested} {verb}, {report.already} were before, {report.repeated} named twice")
    if report.without_password:
        click.echo(f"{report.without_password} have no password, and cannot log in yet", err=True)
    if report.not_known_yet:
        shown = ", ".join(report.not_known_yet[:_SHOWN_MAX])
        more = "…" if len(report.not_known_yet) > _SHOWN_MAX else ""
        click.echo(f"not imported yet, kept until they are: {shown}{more}", err=True)
