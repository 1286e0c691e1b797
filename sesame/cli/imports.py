"""`sesame import`: the registrar's file."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from producers.registrar import PROFILES, Approval, ImportReport, Order, Threshold, import_file
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option
from sesame.cli.output import progress_bar, write_json

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@dry_run_option
@json_option
@click.option(
    "--full",
    is_flag=True,
    help="FILE is complete for the academic year that --year names: cancel what it does not have.",
)
@click.option("--year", type=click.IntRange(1990, 2100), help="With --full: the year, by its first year.")
@click.option("--approve", metavar="ID", help="Let a held FILE go on: the ID that was told when it was held.")
@click.option(
    "--rejects",
    type=_FILE,
    help="Where to write the lines that were refused. Default: FILE's name with `.rejects.csv`, beside it.",
)
@click.option(
    "--affected",
    type=_FILE,
    help="Where to write who would lose an enrolment or change unusually. Default: FILE's name with "
    "`.affected.csv`, beside it.",
)
@click.option("--republish", is_flag=True, help="Publish unchanged lines too, for a log that has lost them.")
@pass_context
def import_command(
    context: Context,
    *,
    file: Path,
    dry_run: bool,
    as_json: bool,
    full: bool,
    year: int | None,
    approve: str | None,
    rejects: Path | None,
    affected: Path | None,
    republish: bool,
) -> None:
    """Import the registrar's FILE: publish what differs from what was published before.

    Exit code 3 when some lines were refused: the rejects file names line, column, fault and remedy. Exit
    code 5 when nothing was published since too many people would lose an enrolment or change unusually.
    """
    from pipeline.store.feeds import SqlFeedMemory
    from sesame.wiring import utc_now

    if full != (year is not None):
        raise click.UsageError("--full and --year belong together: --full --year 2026")
    app = context.application
    settings = app.settings.registrar
    order = Order(
        rejects_path=rejects or file.with_name(f"{file.stem}.rejects.csv"),
        affected_path=affected or file.with_name(f"{file.stem}.affected.csv"),
        dry_run=dry_run,
        republish=republish,
        full_year=year,
        threshold=Threshold(share=settings.guard_share, people=settings.guard_people),
        approval=None if approve is None else Approval(approve, getpass.getuser()),
    )
    with progress_bar() as progress:
        task = progress.add_task("importing", total=None)
        report = import_file(
            file,
            order,
            profile=PROFILES[settings.profile](payment_required=settings.payment_required),
            feed=SqlFeedMemory(app.database),
            producer=app.producer,
            clock=utc_now,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        write_json(report.to_json())
    else:
        click.echo("\n".join(_text(report)))
    _conclude(report, approve)


def _conclude(report: ImportReport, approve: str | None) -> None:
    """Say what needs somebody's attention, and end with the code that says so."""
    if report.affected_path is not None:
        click.echo(f"who is affected, and how: {report.affected_path}", err=True)
    if report.rejects_path is not None:
        click.echo(f"{report.rejected} lines were refused: see {report.rejects_path}", err=True)
    if report.absence_unknown:
        click.echo(
            f"{report.unattributed} of them name no student: nobody was cancelled for being absent. "
            "Correct these lines, and import again.",
            err=True,
        )
    if report.held:
        if approve is not None:
            click.echo(f"The approval {approve} is for another file or for other differences.", err=True)
        click.echo(
            f"{'This would be held' if report.dry_run else 'Held: nothing was published'}. If the file is "
            f"right, import it again with --approve {report.approval}",
            err=True,
        )
        raise click.exceptions.Exit(int(ExitCode.HELD))
    if report.rejected:
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


def _text(report: ImportReport) -> list[str]:
    """The report, for people."""
    verb = "would be published" if report.dry_run or report.held else "published"
    separator = {"\t": "tab"}.get(report.separator, report.separator)
    gone = "" if report.full_year is None else f"and {report.gone} cancellations of absent ones "
    counts = (
        f"{report.lines} lines ({report.encoding}, separator {separator}), {report.students} students: "
        f"{report.recorded} enrolments and {report.cancelled} cancellations {gone}{verb}, "
        f"{report.unchanged} unchanged, {report.duplicates} repeated, {report.rejected} refused"
    )
    lines = [counts]
    for year in report.years:
        changes = ", ".join(f"{change.value} {people}" for change, people in sorted(year.changes.items()))
        over = " (over the threshold)" if year.over else ""
        lines.append(f"{year.year}: {year.affected} of {year.known} people affected{over}: {changes}")
    return lines
