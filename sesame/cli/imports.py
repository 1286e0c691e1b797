"""`sesame import`: the registrar's file."""

from __future__ import annotations

from pathlib import Path

import click

from producers.registrar import PROFILES, ImportReport, import_file
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option
from sesame.cli.output import progress_bar, write_json


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@dry_run_option
@json_option
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the lines that were refused. Default: FILE's name with `.rejects.csv`, beside it.",
)
@click.option("--republish", is_flag=True, help="Publish unchanged lines too, for a log that has lost them.")
@pass_context
def import_command(
    context: Context, *, file: Path, dry_run: bool, as_json: bool, rejects: Path | None, republish: bool
) -> None:
    """Import the registrar's FILE: publish what differs from what was published before.

    Exit code 3 when some lines were refused: the rejects file names line, column, fault and remedy.
    """
    from pipeline.store.feeds import SqlFeedMemory
    from sesame.wiring import utc_now

    app = context.application
    profile = PROFILES[app.settings.registrar.profile](
        payment_required=app.settings.registrar.payment_required
    )
    rejects_path = rejects or file.with_name(f"{file.stem}.rejects.csv")
    with progress_bar() as progress:
        task = progress.add_task("importing", total=None)
        report = import_file(
            file,
            profile=profile,
            feed=SqlFeedMemory(app.database),
            producer=app.producer,
            clock=utc_now,
            dry_run=dry_run,
            rejects_path=rejects_path,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
            republish=republish,
        )
    if as_json:
        write_json(report.to_json())
    else:
        click.echo(_text(report))
    if report.rejected:
        click.echo(f"{report.rejected} lines were refused: see {rejects_path}", err=True)
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


def _text(report: ImportReport) -> str:
    """The report in one line."""
    verb = "would be published" if report.dry_run else "published"
    return (
        f"{report.lines} lines ({report.encoding}), {report.students} students: "
        f"{report.recorded} enrolments and {report.cancelled} cancellations {verb}, "
        f"{report.unchanged} unchanged, {report.duplicates} repeated, {report.rejected} refused"
    )
