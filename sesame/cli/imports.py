"""`sesame import`: the registrar's file."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import audited, operator_name
from sesame.cli.options import dry_run_option, json_option
from sesame.cli.output import progress_bar, write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from producers.registrar import FeedProfile, ImportExplanation, ImportOptions, ImportReport
    from producers.registrar.settings import RegistrarSettings
    from sesame.app.wiring import Application

_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_ENCODINGS = ("utf-8", "windows-1252", "iso-8859-15", "mac-roman", "cp850", "utf-8-twice")
"""`producers.registrar.ENCODINGS`, tested."""
_EXPLAINED_LINES = 5
_REPEATED = ("profile", "full", "year", "rejects", "affected", "republish", "encoding", "accept")
"""The options that say how a file is imported."""


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
@click.argument("file", required=False, type=_EXISTING)
@click.option(
    "--groups",
    type=_EXISTING,
    help="A second file: which teaching units and groups each student follows. With FILE, or alone.",
)
@click.option(
    "--profile",
    metavar="PROFILE",
    help="How the files are written: apogee, pegase, or a mapping file of your own (MAPPING.toml). "
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
    "--accept",
    multiple=True,
    metavar="STUDENT",
    help="Take what looks damaged on this student's lines of FILE as right, now and later. May be repeated.",
)
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
    as_json: bool,
    full: bool,
    year: int | None,
    approve: str | None,
    rejects: Path | None,
    affected: Path | None,
    republish: bool,
    encoding: str | None,
    accept: tuple[str, ...],
) -> None:
    """Import the registrar's FILE: publish what differs from what was published before.

    Exit code 3 when some lines were refused: the rejects file names line, column, fault and remedy. Exit
    code 5 when nothing was published since too many people would lose something or change unusually. With
    two files the graver code counts; one that is held does not hold the other. Noted in the audit.
    """
    from producers.registrar import Acceptance, Approval, ImportKind, ImportOptions
    from sesame.cli.import_output import told, warn

    _check_usage(file, groups, full=full, year=year, of_one=(approve, rejects, affected), accept=accept)
    settings = context.settings.registrar
    chosen = None if file is None else _profile(profile, settings, encoding)
    chosen_groups = None if groups is None else _groups_profile(profile, settings, encoding)
    if explained_lines is not None:
        _explain(file, groups, chosen, chosen_groups, explained_lines, as_json=as_json)
        return

    def order(path: Path) -> ImportOptions:
        return ImportOptions(
            rejects_path=rejects or path.with_name(f"{path.stem}.rejects.csv"),
            affected_path=affected or path.with_name(f"{path.stem}.affected.csv"),
            dry_run=dry_run,
            republish=republish,
            full_year=year,
            threshold=settings.threshold,
            approval=None if approve is None else Approval(approve, operator_name()),
            acceptance=Acceptance(frozenset(accept), operator_name()),
        )

    reports = []
    with progress_bar() as progress:
        if file is not None and chosen is not None:
            reports.append(_import(context, progress, file, order(file), chosen))
        if groups is not None and chosen_groups is not None:
            reports.append(_import_groups(context, progress, groups, order(groups), chosen_groups))
    if as_json:
        main, *more = [report.to_json() for report in reports]
        write_json(main | ({"groups": more[0]} if more else {}))
    for report in reports:
        if not as_json:
            click.echo("\n".join(told(report)))
        path = groups if report.kind is ImportKind.TEACHINGS else file
        warn(report, approve, _same_import(context, path, groups=report.kind is ImportKind.TEACHINGS))
    if any(report.held for report in reports):
        raise click.exceptions.Exit(int(ExitCode.HELD))
    if any(report.rejected for report in reports):
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


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
        raise click.UsageError("Missing argument 'FILE', or option '--groups FILE', or both.")
    if full != (year is not None):
        raise click.UsageError("--full and --year belong together: --full --year 2026")
    if file is not None and groups is not None and any(each is not None for each in of_one):
        raise click.UsageError(
            "--approve, --rejects and --affected are about one file: import FILE and --groups one by one"
        )
    if accept and file is None:
        raise click.UsageError("--accept is about FILE: a file of groups has no names")


def _same_import(context: Context, path: Path | None, *, groups: bool) -> str:
    """The command that imports one of the files again in the same way, to be completed by an option."""
    command = click.get_current_context()
    words = ["sesame", *(("--config", str(context.config)) if context.config else ()), "import"]
    words += [*(["--groups"] if groups else []), str(path)]
    for option in command.command.params:
        value = command.params[str(option.name)]
        if option.name in _REPEATED and value:
            for each in value if isinstance(value, tuple) else (value,):
                words += [option.opts[0]] if each is True else [option.opts[0], str(each)]
    return shlex.join(words)


def _import(
    context: Context, progress: Progress, file: Path, order: ImportOptions, profile: FeedProfile
) -> ImportReport:
    from producers.registrar import import_file
    from producers.registrar.feed_memory import SqlFeedMemory
    from sesame.app.wiring import utc_now

    app = context.application
    _audit(app, "import", file, order)
    task = progress.add_task("importing", total=None)
    return import_file(
        file,
        order,
        profile=profile,
        feed=SqlFeedMemory(app.database),
        producer=app.producer,
        clock=utc_now,
        progress=lambda done, total: progress.update(task, completed=done, total=total),
    )


def _import_groups(
    context: Context, progress: Progress, file: Path, order: ImportOptions, profile: FeedProfile
) -> ImportReport:
    from producers.registrar.teachings import import_groups
    from producers.registrar.teachings.feed_memory import SqlTeachingMemory
    from sesame.app.wiring import utc_now

    app = context.application
    _audit(app, "import.groups", file, order)
    task = progress.add_task("importing groups", total=None)
    return import_groups(
        file,
        order,
        profile=profile,
        feed=SqlTeachingMemory(app.database),
        producer=app.producer,
        clock=utc_now,
        progress=lambda done, total: progress.update(task, completed=done, total=total),
    )


def _audit(app: Application, action: str, file: Path, order: ImportOptions) -> None:
    if not order.dry_run:
        audited(
            app.database, action, file=file.name, full_year=order.full_year, republish=order.republish or None
        )


def _profile(named: str | None, settings: RegistrarSettings, encoding: str | None) -> FeedProfile:
    from producers.registrar import choose

    profile = choose(
        named or settings.mapping or settings.profile,
        payment_required=settings.payment_required,
        one_name=settings.one_name,
    )
    return replace(profile, encoding=encoding or "")


def _groups_profile(named: str | None, settings: RegistrarSettings, encoding: str | None) -> FeedProfile:
    from producers.registrar.teachings import choose_groups

    profile = choose_groups(named or settings.groups_mapping or settings.mapping or settings.profile)
    return replace(profile, encoding=encoding or "")


def _explain(
    file: Path | None,
    groups: Path | None,
    profile: FeedProfile | None,
    groups_profile: FeedProfile | None,
    lines_max: int,
    *,
    as_json: bool,
) -> None:
    """Show how the first lines of each file are read."""
    from producers.registrar import explain
    from producers.registrar.teachings import parse as parse_teaching
    from sesame.cli.import_output import explained

    found: list[tuple[Path, FeedProfile, ImportExplanation]] = []
    if file is not None and profile is not None:
        found.append((file, profile, explain(file, profile, lines_max)))
    if groups is not None and groups_profile is not None:
        explanation = explain(groups, groups_profile, lines_max, parse=parse_teaching)
        found.append((groups, groups_profile, explanation))
    if as_json:
        main, *more = [_document(profile, explanation) for _, profile, explanation in found]
        write_json(main | ({"groups": more[0]} if more else {}))
        return
    for path, used, explanation in found:
        click.echo("\n".join(explained(path, used, explanation)))


def _document(profile: FeedProfile, explanation: ImportExplanation) -> dict[str, Any]:
    layout = explanation.layout
    return {
        "profile": profile.name,
        "encoding": layout.encoding,
        "separator": layout.separator,
        "lines": layout.lines,
        "ignored_columns": explanation.ignored,
        "read": [line.to_json() for line in explanation.lines],
    }
