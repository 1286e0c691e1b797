"""`sesame restored`: after a restore, before anything is written to a target."""

from __future__ import annotations

import click

from schemas.language import gettext
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option, reason_option
from sesame.cli.output import local_time, show_table, write_json


@click.group()
def restored() -> None:
    """After a restore of the store: keep shut what a target shows shut, and answer the questions."""


@restored.command(name="check")
@json_option
@pass_context
def check_command(context: Context, *, as_json: bool) -> None:
    """Read every target; nothing is written to any.

    Whoever a target shows shut, and the store would open, is held in the store: shut at every target, and a
    question for you. Who has a hold in the store, or is open everywhere, is not touched. When every target
    was read, `sesame run` may start. Repeating it is harmless.
    """
    from sesame.operations.restored.inspection import check

    found = check(context.application, operator(), say=lambda what: click.echo(what, err=as_json))
    if as_json:
        write_json(found.model_dump())
    elif found.asked:
        n = len(found.asked)
        click.echo(gettext("{n} stay shut until you have answered: sesame restored list", n=n))
    else:
        click.echo(gettext("Nobody is shut whom the store would open."))


@restored.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those too that were answered.")
@json_option
@pass_context
def list_command(context: Context, *, everything: bool, as_json: bool) -> None:
    """List who stays shut after a restore until somebody answers, oldest first."""
    from sesame.operations.diagnosis.words import word
    from sesame.operations.restored.questions import RestoreFilter, listed

    found = listed(context.looking, operator(), RestoreFilter(everything=everything))
    if as_json:
        write_json([each.model_dump() for each in found])
    elif found:
        rows = [
            (
                each.student_number,
                ", ".join(each.shown_shut_by),
                word("restore_answers", each.state),
                local_time(each.raised_at),
            )
            for each in found
        ]
        columns = gettext("student"), gettext("shown shut by"), gettext("state"), gettext("since")
        show_table(columns, rows)
        commands = "sesame restored open STUDENT --reason …", "sesame restored keep …"
        then = gettext("Then: {one}, or {other}", one=commands[0], other=commands[1])
        click.echo(then, err=True)
    else:
        click.echo(gettext("Nobody is asked about."), err=True)


@restored.command(name="open")
@click.argument("student")
@reason_option()
@pass_context
def open_command(context: Context, *, student: str, reason: str) -> None:
    """Open STUDENT's access again: there was no reason to shut it, or it is gone. Noted in the audit."""
    _answer(context, student, "opened", reason)
    click.echo(gettext("{number}: the hold is lifted", number=student))


@restored.command()
@click.argument("student")
@reason_option()
@pass_context
def keep(context: Context, *, student: str, reason: str) -> None:
    """Keep STUDENT shut, by an administrative hold, until `sesame hold lift`. Noted in the audit."""
    from sesame.operations.restored.questions import HOLD

    _answer(context, student, "kept", reason)
    command = f"sesame hold lift {student} --kind {HOLD} --reason …"
    click.echo(gettext("{number}: stays shut until: {command}", number=student, command=command))


def _answer(context: Context, student: str, answered: str, reason: str) -> None:
    from sesame.operations.restored.questions import RestoreAnswer, RestoredAnswer, answer

    given = RestoredAnswer(student_number=student, answer=RestoreAnswer(answered), reason=reason)
    answer(context.looking, operator(), given)
