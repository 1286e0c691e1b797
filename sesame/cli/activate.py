"""`sesame activate`: ask for accounts by command. The portal will publish the same event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import progress_bar, write_json

if TYPE_CHECKING:
    from producers.activation.activating import ActivationReport
    from sesame.app.wiring import Application

_SHOWN_MAX = 20
_NAMED_MAX = 20  # numbers in one line of the audit; a list is named by its file
_PAGE = 1000


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
    from consumers.registry.people import People
    from producers.activation.activating import activate as publish
    from producers.activation.files import read_passwords, read_students
    from schemas.account import Lane
    from sesame.app.wiring import utc_now

    if sum((bool(students), listed is not None, everybody)) != 1:
        raise click.UsageError("give students' numbers, --from or --all, and one of them only")
    passwords: Mapping[str, str] = {}
    if listed is not None:
        students, passwords = read_students(listed)
    if password_file is not None:
        passwords = {**passwords, **read_passwords(password_file)}
    app = context.application
    if everybody and not yes and not dry_run:
        click.confirm("Activate everybody who was imported?", abort=True, err=True)
    if not dry_run:
        audited(
            app.database,
            "activate",
            students="all" if everybody else len(students),
            student_numbers=list(students) if len(students) <= _NAMED_MAX else None,
            file=listed.name if listed is not None else None,
            republish=republish,
        )
    with progress_bar() as progress:
        task = progress.add_task("activating", total=None if everybody else len(students))
        report = publish(
            _not_activated(app) if everybody else students,
            passwords,
            lane=Lane.BULK if everybody else Lane.PERSONAL,
            known=People(app.database),
            database=app.database,
            vault=app.vault,
            producer=app.producer,
            clock=utc_now,
            hashing=app.settings.activation,
            language="fr" if language == "fr" else "en" if language == "en" else None,
            republish=republish,
            dry_run=dry_run,
            progress=lambda count: progress.advance(task, count),
        )
    _say(report, dry_run=dry_run, as_json=as_json)


def _not_activated(app: Application) -> Iterator[str]:
    """Everybody who has an account and has not asked for it, by number; read in pages."""
    from sqlalchemy import select

    from pipeline.accounts import accounts

    after = ""
    while True:
        query = (
            select(accounts.c.student_number)
            .where(accounts.c.activated_at.is_(None), accounts.c.student_number > after)
            .order_by(accounts.c.student_number)
            .limit(_PAGE)
        )
        with app.database.read() as connection:
            page = list(connection.execute(query).scalars())
        if not page:
            return
        yield from page
        after = page[-1]


def _say(report: ActivationReport, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "requested": report.requested,
                "already": report.already,
                "repeated": report.repeated,
                "without_password": report.without_password,
                "not_known_yet": report.not_known_yet,
                "dry_run": dry_run,
            }
        )
        return
    verb = "would be activated" if dry_run else "activated"
    click.echo(f"{report.requested} {verb}, {report.already} were before, {report.repeated} named twice")
    if report.without_password:
        click.echo(f"{report.without_password} have no password, and cannot log in yet", err=True)
    if report.not_known_yet:
        shown = ", ".join(report.not_known_yet[:_SHOWN_MAX])
        more = "…" if len(report.not_known_yet) > _SHOWN_MAX else ""
        click.echo(f"not imported yet, kept until they are: {shown}{more}", err=True)
