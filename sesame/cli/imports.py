"""`sesame import`: the registrar's file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.interruption import interruptible
from sesame.cli.operator import operator
from sesame.cli.options import dry_run_option, first_courses_option, json_option, wants_json
from sesame.cli.output import CommandResult, progress_bar

with lazily():
    from producers.registrar import import_subject
    from producers.registrar import report as registrar_report
    from sesame.app import wiring
    from sesame.cli import import_output
    from sesame.operations.imports import acts as import_acts

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_ENCODINGS = ("utf-8", "windows-1252", "iso-8859-15", "mac-roman", "cp850", "utf-8-twice")
"""`producers.registrar.ENCODINGS`, tested."""
_EXPLAINED_LINES = 5
_REPEATED = (
    *("profile", "full", "year", "rejects", "affected", "republish", "encoding", "sheet", "accept"),
    "first_courses",
)
"""The options that say how a file is imported."""


_CODE = re.compile(r"[\w.-]+:[0-9a-f]{8}", re.ASCII)
"""`producers.registrar.acceptance.CODE`, tested."""


def _codes(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Parse the codes to accept: each is of a value that an operator has seen."""
    for each in given:
        if not _CODE.fullmatch(each):
            raise click.BadParameter(
                gettext("{given} is not NUMBER:CODE, as the rejects file gives it for a value", given=each)
            )
    return given


class _Import(click.Command):
    """A command whose `--explain` takes what follows as its value only if a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        following = [*args, ""][1:]
        whole = [
            f"--explain={_EXPLAINED_LINES}" if word == "--explain" and not after.isdecimal() else word
            for word, after in zip(args, following, strict=True)
        ]
        return super().parse_args(ctx, whole)


@click.command(name="import", cls=_Import)
@click.argument("file", required=False, type=_EXISTING)
@click.option(
    "--groups",
    type=_EXISTING,
    help="A second file: which teaching units and groups each student follows. With FILE, or alone.",
)
@click.option(
    "--profile",
    metavar="PROFILE",
    help="How the files are written: apogee, pegase, staff, or a mapping file of your own (MAPPING.toml). "
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
    help="The files are complete for the academic year that --year names: cancel what they do not have.",
)
@click.option("--year", type=click.IntRange(1990, 2100), help="With --full: the year, by its first year.")
@click.option("--approve", metavar="ID", help="Let a held file go on: the ID that was told when it was held.")
@click.option(
    "--rejects",
    type=_FILE,
    help="Where to write the lines that were refused. Default: beside the file, its name with "
    "`.rejects.csv`.",
)
@click.option(
    "--affected",
    type=_FILE,
    help="Where to write who would lose something or change unusually. Default: beside the file, its name "
    "with `.affected.csv`.",
)
@click.option(
    "--encoding",
    type=click.Choice(_ENCODINGS),
    help="What the files are in, if it is not found out. `utf-8-twice`: UTF-8 that was read as something "
    "else on its way, and written as UTF-8 again.",
)
@click.option(
    "--sheet", metavar="NAME", help="Which sheet of a spreadsheet to read, if several hold something."
)
@click.option(
    "--accept",
    multiple=True,
    metavar="NUMBER:CODE",
    callback=_codes,
    help="Take what looks damaged on a student's lines of FILE as right, now and later: what the rejects "
    "file gives for it. May be repeated.",
)
@first_courses_option
@click.option("--republish", is_flag=True, help="Publish unchanged lines too, for a log that has lost them.")
@pass_context
def import_command(
    context: Context,
    *,
    file: Path | None,
    groups: Path | None,
    profile: str | None,
    explained_lines: int | None,
    dry_run: bool,
    full: bool,
    year: int | None,
    approve: str | None,
    rejects: Path | None,
    affected: Path | None,
    republish: bool,
    encoding: str | None,
    sheet: str | None,
    accept: tuple[str, ...],
    first_courses: Path | None,
) -> CommandResult:
    """Import the registrar's FILE: publish what differs from what was published before.

    Exit code 3 when some lines were refused: the rejects file names line, column, fault and remedy. Exit
    code 5 when nothing was published since too many people would lose something or change unusually. With
    two files the graver code counts; one that is held does not hold the other. Ctrl-C and SIGTERM end it
    with exit code 130: the same command again goes on. Noted in the audit.
    """
    _check_usage(file, groups, full=full, year=year, of_one=(approve, rejects, affected), accept=accept)
    if first_courses is not None and file is None:
        raise click.UsageError(gettext("--first-courses is about FILE: a file of groups has no components"))
    reading = import_acts.Reading(file=file, groups=groups, profile=profile, encoding=encoding, sheet=sheet)
    if explained_lines is not None:
        return _explain(context, import_acts.ExplainRequest(**dict(reading), lines_max=explained_lines))
    request = import_acts.ImportRequest(
        **dict(reading),
        dry_run=dry_run,
        republish=republish,
        full_year=year,
        approve=approve,
        accept=accept,
        rejects=rejects,
        affected=affected,
        first_courses=first_courses,
    )
    imported = _imported(context, request)

    def warn_of(report: registrar_report.ImportReport) -> None:
        of_groups = report.kind is registrar_report.ImportKind.TEACHINGS
        import_output.warn(
            report, approve, _same_import(context, groups if of_groups else file, groups=of_groups)
        )

    if wants_json():
        for each in imported.reports:
            warn_of(each)
    return CommandResult(imported, partial(_show, imported, warn_of), _code(imported))


def _show(imported: import_acts.Imported, warn_of: Callable[[registrar_report.ImportReport], None]) -> None:
    for report in imported.reports:
        click.echo("\n".join(import_output.told(report)))
        warn_of(report)


def _code(imported: import_acts.Imported) -> ExitCode:
    if any(report.held for report in imported.reports):
        return ExitCode.HELD
    return ExitCode.PARTLY if any(report.rejected for report in imported.reports) else ExitCode.DONE


def _imported(context: Context, request: import_acts.ImportRequest) -> import_acts.Imported:
    """Import the files. If interrupted, report what was done, after earlier files' reports."""
    titles = {
        registrar_report.ImportKind.ENROLMENTS: gettext("importing"),
        registrar_report.ImportKind.TEACHINGS: gettext("importing groups"),
    }
    with progress_bar() as show, interruptible():

        def progress(kind: registrar_report.ImportKind, done: int, total: int | None) -> None:
            show(titles[kind], done, total)

        try:
            return context.run_creating(
                import_acts.import_files, request, clock=wiring.utc_now, progress=progress
            )
        except import_subject.ImportInterrupted as interrupted:
            for report in interrupted.done:
                click.echo("\n".join(import_output.told(report)))
            raise
        except KeyboardInterrupt:  # before the first file was begun
            raise import_subject.ImportInterrupted(0, 0) from None


def _check_usage(
    file: Path | None,
    groups: Path | None,
    *,
    full: bool,
    year: int | None,
    of_one: tuple[object, ...],
    accept: tuple[str, ...],
) -> None:
    if file is None and groups is None:
        raise click.UsageError(gettext("Missing argument 'FILE', or option '--groups FILE', or both."))
    if full != (year is not None):
        raise click.UsageError(gettext("--full and --year belong together: --full --year 2026"))
    if file is not None and groups is not None and any(each is not None for each in of_one):
        raise click.UsageError(
            gettext(
                "--approve, --rejects and --affected are about one file: import FILE and --groups one by one"
            )
        )
    if accept and file is None:
        raise click.UsageError(gettext("--accept is about FILE: a file of groups has no names"))


def _same_import(context: Context, path: Path | None, *, groups: bool) -> str:
    """The command that repeats the import of one of the files; append an option to it."""
    command = click.get_current_context()
    words = ["sesame", *(("--config", str(context.config)) if context.config else ()), "import"]
    words += [*(["--groups"] if groups else []), str(path)]
    for option in command.command.params:
        value = command.params.get(str(option.name))
        if option.name in _REPEATED and value:
            for each in value if isinstance(value, tuple) else (value,):
                words += [option.opts[0]] if each is True else [option.opts[0], str(each)]
    return shlex.join(words)


def _explain(context: Context, request: import_acts.ExplainRequest) -> CommandResult:
    """Show how the first lines of each file are read."""
    found = import_acts.explain(context, operator(), request, clock=wiring.utc_now)
    return CommandResult(found, partial(_show_explained, found))


def _show_explained(found: import_acts.Explained) -> None:
    for each in found.files:
        click.echo("\n".join(import_output.explained(each.file, each.profile, each.explanation)))
