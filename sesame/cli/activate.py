"""`sesame activate`: ask for students' accounts, as the portal does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click
from pydantic import TypeAdapter, ValidationError

from pipeline.store.people import People
from producers.activation import ActivationReport, read_passwords, read_students
from producers.activation import activate as publish
from schemas.account import Lane, StudentNumber
from sesame.cli.context import Context, pass_context
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import progress_bar, write_json

NAMED_MAX = 20  # numbers that are written out; `--json` has them all


@click.command()
@click.argument("students", nargs=-1, metavar="[STUDENT]...")
@click.option(
    "--from",
    "listed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of student numbers: one per line, or a CSV with a column student_number.",
)
@click.option("--all", "everybody", is_flag=True, help="Everybody who has not asked yet, as bulk work.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Passwords, of mode 0600: lines number:password, or a CSV student_number,password.",
)
@click.option("--language", type=click.Choice(["fr", "en"]), help="Language of the messages to them.")
@click.option(
    "--republish", is_flag=True, help="Ask again for those not active yet, after a loss of the log."
)
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
    language: Literal["fr", "en"] | None,
    republish: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Activate STUDENTs, those of a list, or everybody.

    Named students and lists are personal work: somebody is waiting. --all is bulk work. Who was activated
    before is skipped, so that the same list again changes nothing. A number that no import has brought yet is
    named, and waits for its enrolment.
    """
    if sum((bool(students), listed is not None, everybody)) != 1:
        raise click.UsageError("give students, --from FILE or --all, and one of them only")
    passwords: dict[str, str] = {}
    wanted: Iterable[str] = students
    if listed is not None:
        wanted, passwords = read_students(listed)
    if password_file is not None:
        passwords |= read_passwords(password_file)
    _check_numbers(students)
    if everybody:
        if not yes and not dry_run:
            click.confirm("Activate everybody who has not asked yet?", abort=True, err=True)
        wanted = People(context.application.database).never_activated()
    report = _publish(
        context,
        wanted,
        passwords,
        lane=Lane.BULK if everybody else Lane.PERSONAL,
        language=language,
        republish=republish,
        dry_run=dry_run,
    )
    if as_json:
        write_json({**asdict(report), "dry_run": dry_run})
    else:
        click.echo(_text(report, dry_run=dry_run))
    _say_unknown(report)


def _publish(  # what the command line says
    context: Context,
    students: Iterable[str],
    passwords: Mapping[str, str],
    *,
    lane: Lane,
    language: Literal["fr", "en"] | None,
    republish: bool,
    dry_run: bool,
) -> ActivationReport:
    from sesame.wiring import utc_now

    app = context.application
    total = len(students) if isinstance(students, tuple) else None
    with progress_bar() as bar:
        task = bar.add_task("activating", total=total)
        return publish(
            students,
            passwords,
            lane=lane,
            database=app.database,
            vault=app.vault,
            producer=app.producer,
            clock=utc_now,
            hashing=app.settings.activation,
            language=language,
            republish=republish,
            dry_run=dry_run,
            progress=lambda done: bar.advance(task, done),
        )


def _check_numbers(students: tuple[str, ...]) -> None:
    numbers: TypeAdapter[str] = TypeAdapter(StudentNumber)
    for number in students:
        try:
            numbers.validate_python(number)
        except ValidationError as error:
            raise click.BadParameter(f"{number!r} is no student number", param_hint="STUDENT") from error


def _text(report: ActivationReport, *, dry_run: bool) -> str:
    """The report in one line."""
    verb = "would be activated" if dry_run else "activated"
    return (
        f"{report.requested} students {verb}, {report.without_password} of them without a password; "
        f"{report.already} were before, {report.repeated} named twice"
    )


def _say_unknown(report: ActivationReport) -> None:
    """Name those whom no import has brought yet."""
    unknown = report.not_known_yet
    for number in unknown[:NAMED_MAX]:
        click.echo(f"{number}: not known yet; the activation waits for the registrar's enrolment", err=True)
    if len(unknown) > NAMED_MAX:
        click.echo(f"and {len(unknown) - NAMED_MAX} more numbers that are not known yet", err=True)
