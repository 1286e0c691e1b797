"""`sesame restored`: after a restore, before anything is written to a target."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator_name, reason_option
from sesame.cli.options import json_option
from sesame.cli.output import show_table, write_json


@click.group()
def restored() -> None:
    """After a restore of the store: keep shut what a target shows shut, and answer the questions."""


@restored.command()
@json_option
@pass_context
def check(context: Context, *, as_json: bool) -> None:
    """Read every target; nothing is written to any.

    Whoever a target shows shut, and the store would open, is held in the store: shut at every target, and a
    question for you. Who has a hold in the store, or is open everywhere, is not touched. When every target
    was read, `sesame run` may start. Repeating it is harmless.
    """
    from sesame.operations.restored.inspection import check

    found = check(context.application, actor=operator_name(), say=lambda what: click.echo(what, err=as_json))
    if as_json:
        write_json({"read": found.read, "asked": list(found.asked)})
    elif found.asked:
        click.echo(f"{len(found.asked)} stay shut until you have answered: sesame restored list")
    else:
        click.echo("Nobody is shut whom the store would open.")


@restored.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those too that were answered.")
@json_option
@pass_context
def list_command(context: Context, *, everything: bool, as_json: bool) -> None:
    """List who stays shut after a restore until somebody answers, oldest first."""
    from sesame.operations.restored.inspection import listed, moment

    found = listed(context.looking, everything=everything)
    if as_json:
        write_json(
            [
                {
                    "student_number": each.student_number,
                    "shown_shut_by": list(each.shown_by),
                    "state": each.state.value,
                    "raised_at": moment(each.raised_at),
                    "decided_at": None if each.decided_at is None else moment(each.decided_at),
                }
                for each in found
            ]
        )
    elif found:
        rows = [
            (each.student_number, ", ".join(each.shown_by), each.state.value, moment(each.raised_at)[:16])
            for each in found
        ]
        show_table(dict.fromkeys(("student", "shown shut by", "state", "since (UTC)"), "left"), rows)
        click.echo("Then: sesame restored open STUDENT --reason …, or sesame restored keep …", err=True)
    else:
        click.echo("Nobody is asked about.", err=True)


@restored.command(name="open")
@click.argument("student")
@reason_option()
@pass_context
def open_command(context: Context, *, student: str, reason: str) -> None:
    """Open STUDENT's access again: there was no reason to shut it, or it is gone. Noted in the audit."""
    from sesame.operations.restored.inspection import answer
    from sesame.operations.restored.questions import Answer

    answer(context.looking, student, Answer.OPENED, reason=reason, actor=operator_name())
    click.echo(f"{student}: the hold is lifted")


@restored.command()
@click.argument("student")
@reason_option()
@pass_context
def keep(context: Context, *, student: str, reason: str) -> None:
    """Keep STUDENT shut, by an administrative hold, until `sesame hold lift`. Noted in the audit."""
    from sesame.operations.restored.inspection import HOLD, answer
    from sesame.operations.restored.questions import Answer

    answer(context.looking, student, Answer.KEPT, reason=reason, actor=operator_name())
    click.echo(f"{student}: stays shut until: sesame hold lift {student} --kind {HOLD} --reason …")
