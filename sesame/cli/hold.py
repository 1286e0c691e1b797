"""`sesame hold`: shut a student's access, or that of a list, or open it again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option, reason_option, write
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from schemas import account
    from sesame.app import wiring
    from sesame.operations.access import holds
    from sesame.operations.people.diagnosis import words

_KINDS = ("suspended", "administrative", "technical", "stolen-passwords")  # `schemas.account.Hold`, tested

_STUDENT = click.argument("student", required=False)
_FROM = click.option(
    "--from",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="A list: a number, a login or an address a line; of a CSV the first column; - is standard input.",
)
_LINES_SHOWN = 20


@click.group()
def hold() -> None:
    """Shut access at once, whatever the account's stage, or open it again."""


@hold.command(name="place")
@_STUDENT
@_FROM
@click.option(
    "--kind", "--cause", type=click.Choice(_KINDS), default="suspended", show_default=True, help="Why."
)
@reason_option()
@dry_run_option
@json_option
@pass_context
def place_command(
    context: Context, /, *, student: str | None, listed: Path | None, **given: Any
) -> CommandResult | None:
    """Shut STUDENT's access to every target, or that of everybody on the list. Nothing is deleted.

    stolen-passwords is lifted by the students themselves, who choose a new password on their pages; the
    others by `sesame hold lift` only. Lines that name nobody are told, and the rest goes on: exit code 3.
    """
    if listed is not None:
        _answer_list(context.run_creating(holds.place_all, _list(student, listed, **given)))
        return None
    report = context.run_creating(holds.place, _change(student, **given))
    said = _said(report)
    if not report.changed:
        told = (
            gettext("{number}: hold {kind} was placed already, on {at}; nothing was done", **said)
            if report.since
            else gettext("{number}: hold {kind} was placed already; nothing was done", **said)
        )
    elif report.known:
        told = gettext(
            "{number}: hold {kind} is placed; `sesame status {number}` shows when access is shut", **said
        )
    else:
        told = gettext(
            "{number}: hold {kind} is kept until an import brings this number: it has no account yet", **said
        )
    return CommandResult(report.model_dump(mode="json"), partial(click.echo, told))


@hold.command(name="lift")
@_STUDENT
@_FROM
@click.option(
    "--kind", "--cause", type=click.Choice(_KINDS), default="suspended", show_default=True, help="Which hold."
)
@reason_option()
@dry_run_option
@json_option
@pass_context
def lift_command(
    context: Context, /, *, student: str | None, listed: Path | None, **given: Any
) -> CommandResult | None:
    """Say that the reason to shut STUDENT's access, or everybody's on the list, is gone. Other holds stay."""
    if listed is not None:
        _answer_list(context.run_creating(holds.lift_all, _list(student, listed, **given)))
        return None
    report = context.run_creating(holds.lift, _change(student, **given))
    said = _said(report)
    if report.changed:
        told = gettext("{number}: hold {kind} is lifted", **said)
    elif report.since:
        told = gettext("{number}: nothing to lift: hold {kind} was lifted on {at}", **said)
    else:
        told = gettext("{number}: nothing to lift: there is no hold {kind}", **said)
    return CommandResult(report.model_dump(mode="json"), partial(click.echo, told))


@hold.command(name="list")
@click.option("--kind", "--cause", type=click.Choice(_KINDS), help="Those of one kind only.")
@json_option
@pass_context
def list_command(context: Context, *, kind: str | None) -> CommandResult:
    """List the holds in force, by student number: since when, by whom, and why."""
    asked = holds.HoldsRead(kind=None if kind is None else _hold(kind))
    found = context.run(holds.list_holds, asked)
    return CommandResult([each.model_dump(mode="json") for each in found], partial(_show_holds, found))


def _show_holds(found: list[holds.HeldStudent]) -> None:
    if not found:
        remark(gettext("No hold is in force."))
        return
    columns = [gettext("student"), gettext("hold"), gettext("since"), gettext("by"), gettext("reason")]
    rows = [
        (
            each.student_number,
            words.word("holds", each.kind),
            "" if each.since is None else local_time(each.since),
            each.actor or "",
            each.reason or "",
        )
        for each in found
    ]
    show_table(columns, rows, folded=columns[-1])


def _answer_list(report: holds.HoldsReport) -> None:
    """Report on a list; exit code 1 if no line names a student, 3 if some do not."""
    write(CommandResult(report.model_dump(mode="json"), partial(_show_list, report)))
    if report.wrong:
        lines = ", ".join(map(str, report.wrong[:_LINES_SHOWN]))
        more = ", …" if len(report.wrong) > _LINES_SHOWN else ""
        n = len(report.wrong)
        remark(
            ngettext(
                "{n} line names nobody: {lines}", "{n} lines name nobody: {lines}", n, lines=lines + more
            )
        )
    if report.wrong or not report.students:
        raise click.exceptions.Exit(int(ExitCode.PARTLY if report.students else ExitCode.FAILED))


def _show_list(report: holds.HoldsReport) -> None:
    kind = words.word("holds", report.kind)
    n, already = report.changed, report.students - report.changed
    if report.dry_run:
        click.echo(
            ngettext(
                "hold {kind}: {n} student would change",
                "hold {kind}: {n} students would change",
                n,
                kind=kind,
            )
        )
    else:
        click.echo(
            ngettext("hold {kind}: {n} student changed", "hold {kind}: {n} students changed", n, kind=kind)
        )
    if already:
        click.echo(ngettext("{n} student stood so already", "{n} students stood so already", already))


def _said(report: holds.HoldReport) -> dict[str, str]:
    """The values that a message's text refers to."""
    at = "" if report.since is None else local_time(report.since)
    return {"number": report.student_number, "kind": words.word("holds", report.kind), "at": at}


def _change(student: str | None, *, kind: str, reason: str, dry_run: bool) -> holds.HoldChangeRequest:
    if student is None:
        raise click.UsageError(gettext("give a student number, or a list by --from"))
    if dry_run:
        raise click.UsageError(gettext("--dry-run goes with --from"))
    return holds.HoldChangeRequest(student_number=student, kind=_hold(kind), reason=reason, unknown=True)


def _list(
    student: str | None, listed: Path, *, kind: str, reason: str, dry_run: bool
) -> holds.HoldListRequest:
    if student is not None:
        raise click.UsageError(gettext("give a student number, or a list by --from"))
    try:
        with click.open_file(str(listed), encoding="utf-8") as file:
            lines = tuple(file.read().splitlines())
    except UnicodeDecodeError as error:
        message = gettext("{path} is not UTF-8 (byte {byte})", path=listed, byte=error.start)
        raise click.UsageError(message) from error
    return holds.HoldListRequest(
        kind=_hold(kind), reason=reason, at=wiring.utc_now(), file=listed.name, lines=lines, dry_run=dry_run
    )


def _hold(kind: str) -> account.Hold:
    return account.Hold(kind.replace("-", "_"))
