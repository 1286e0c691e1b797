"""`sesame import`: the registrar's file."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from producers.registrar import (
    Approval,
    Explanation,
    ImportReport,
    Order,
    Profile,
    Threshold,
    choose,
    explain,
    import_file,
)
from producers.registrar.faults import REMEDIES
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option
from sesame.cli.output import progress_bar, write_json

if TYPE_CHECKING:
    from sesame.settings.sources import RegistrarSettings

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXPLAINED_LINES = 5
_SEPARATORS = {";": "semicolons", ",": "commas", "\t": "tabs"}


class _Import(click.Command):
    """A command whose `--explain` may stand alone: what follows is its value only if it is a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        following = [*args, ""][1:]
        whole = [
            f"--explain={_EXPLAINED_LINES}" if word == "--explain" and not after.isdecimal() else word
            for word, after in zip(args, following, strict=True)
        ]
        return super().parse_args(ctx, whole)


@click.command(name="import", cls=_Import)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--profile",
    metavar="PROFILE",
    help="How FILE is written: apogee, pegase, or a mapping file of your own (MAPPING.toml). "
    "Default: the settings'.",
)
@click.option(
    "--explain",
    "explained_lines",
    type=click.IntRange(1, 1000),
    metavar="[N]",
    help=f"Show how the first N lines are read (default {_EXPLAINED_LINES}), and do nothing else.",
)
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
    profile: str | None,
    explained_lines: int | None,
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
    settings = context.settings.registrar
    chosen = _profile(profile, settings)
    if explained_lines is not None:
        _explain(file, chosen, explained_lines, as_json=as_json)
        return
    app = context.application
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
            profile=chosen,
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


def _profile(named: str | None, settings: RegistrarSettings) -> Profile:
    return choose(
        named or settings.mapping or settings.profile,
        payment_required=settings.payment_required,
        one_name=settings.one_name,
    )


def _explain(file: Path, profile: Profile, lines_max: int, *, as_json: bool) -> None:
    """Show how the first lines are read."""
    explanation = explain(file, profile, lines_max)
    layout = explanation.layout
    if as_json:
        document = {
            "profile": profile.name,
            "encoding": layout.encoding,
            "separator": layout.separator,
            "lines": layout.lines,
            "ignored_columns": explanation.ignored,
            "read": [line.to_json() for line in explanation.lines],
        }
        write_json(document)
    else:
        click.echo("\n".join(_explained(file, profile, explanation)))


def _explained(file: Path, profile: Profile, explanation: Explanation) -> Iterator[str]:
    """The explanation, for people."""
    layout = explanation.layout
    written = _written(layout.encoding, layout.separator)
    yield f"{file}: {layout.lines} lines ({written}), profile {profile.name}"
    if explanation.ignored:
        yield f"columns that are not used: {', '.join(explanation.ignored)}"
    for line in explanation.lines:
        yield f"\nline {line.number}"
        width = max((len(each.value) for each in line.fields), default=0)
        for each in line.fields:
            yield f"  {each.field:<21} {each.value:<{min(width, 40)}}  ← {each.source}"
        for rejection in line.rejections:
            place = f"{rejection.column}: " if rejection.column else ""
            remedy = REMEDIES[rejection.fault]
            yield f"  refused: {place}{rejection.fault.value}, {rejection.detail}. {remedy}"
        if line.fact is not None and "reason" in line.fact:
            yield f"  gives a cancellation ({line.fact['reason']})"
        elif line.fact is not None:
            yield (
                f"  gives an enrolment: administrative {line.fact['administrative']}, "
                f"pedagogical {line.fact['pedagogical']}"
            )


def _written(encoding: str, separator: str) -> str:
    names = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a byte order mark", "windows-1252": "Windows-1252"}
    form = f"separated by {_SEPARATORS[separator]}" if separator else "JSON lines"
    return f"{names[encoding]}, {form}"


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
    if approve is not None and report.approval is None:
        click.echo(f"No approval was needed: {approve} changed nothing.", err=True)
    if report.rejected:
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


def _text(report: ImportReport) -> list[str]:
    """The report, for people."""
    verb = "would be published" if report.dry_run or report.held else "published"
    gone = "" if report.full_year is None else f"and {report.gone} cancellations of absent ones "
    dates = " and ".join(sorted(report.dates))
    written = _written(report.encoding, report.separator) + (f", dates {dates}" if dates else "")
    counts = (
        f"{report.lines} lines ({written}), {report.students} students: "
        f"{report.recorded} enrolments and {report.cancelled} cancellations {gone}{verb}, "
        f"{report.unchanged} unchanged, {report.duplicates} repeated, {report.rejected} refused"
    )
    lines = [counts]
    for year in report.years:
        changes = ", ".join(f"{change.value} {people}" for change, people in sorted(year.changes.items()))
        over = " (over the threshold)" if year.over else ""
        lines.append(f"{year.year}: {year.affected} of {year.known} people affected{over}: {changes}")
    return lines
