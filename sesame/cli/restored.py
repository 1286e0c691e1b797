"""`sesame restored`: after a restore, before anything is written to a target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, reason_option, wants_json
from sesame.cli.output import CommandResult, remark, show_table, step_shown

with lazily():
    from sesame.operations.keeping import rebuild as keeping_rebuild
    from sesame.operations.people.diagnosis import words
    from sesame.operations.questions.restored import inspection, questions


@click.group()
def restored() -> None:
    """After a restore of the store: keep shut what a target shows shut, and answer the questions."""


@restored.command(name="check")
@json_option
@pass_context
def check_command(context: Context) -> CommandResult:
    """Read every target; nothing is written to any.

    Whoever a target shows shut, and the store would open, is held in the store: shut at every target, and a
    question for you. Who has a hold in the store, or is open everywhere, is not touched. When every target
    was read, `sesame run` may start. Repeating it is harmless.
    """
    found = context.run_creating(inspection.check, say=lambda what: click.echo(what, err=wants_json()))
    return CommandResult(found, partial(_show_check, found))


def _show_check(found: inspection.Checked) -> None:
    if found.asked:
        n = len(found.asked)
        click.echo(gettext("{n} stay shut until you have answered: sesame restored list", n=n))
    else:
        click.echo(gettext("Nobody is shut whom the store would open."))
    if found.unknown_erasures:
        n, then = found.unknown_erasures, "sesame privacy again"
        click.echo(gettext("Erasures that this store does not know: {n}. {command}", n=n, command=then))


@restored.command()
@click.option("--write", is_flag=True, help="Do it; else only say what there is to make the store of.")
@json_option
@pass_context
def rebuild(context: Context, *, write: bool) -> CommandResult:
    """Make a lost store again, of the log and the targets, where there is no backup.

    Start with an empty store, and with no other process. The directory's names come first, so that nobody is
    given another's; then persons and accounts, as far back as the log has their facts; then what exists is
    adopted, and who is shut without a known reason becomes a question. Nothing is written to any target, and
    nobody is welcomed again. Whom the log does not name comes with the registrar's next file: repeat this
    then. Exit code 3 when something waits for an operator.
    """
    found = context.run_creating(
        keeping_rebuild.rebuild,
        keeping_rebuild.RebuildRequest(write=write),
        progress=step_shown,
    )
    waits = found.asked or found.questions or found.unknown
    end = ExitCode.PARTLY if waits else ExitCode.DONE
    return CommandResult(found, lambda: click.echo("\n".join(_rebuilt(found))), end)


def _rebuilt(found: keeping_rebuild.Rebuilt) -> Iterator[str]:
    if found.facts is None:
        yield gettext("The log is not read: others work by this store already.")
    else:
        yield gettext("{n} facts in the log", n=sum(found.facts.values()))
    yield gettext("{n} entries of the directory are Sésame's", n=found.entries)
    if not found.written:
        yield gettext("Nothing was written: add --write.")
        return
    for cause, n in found.refused.items():
        yield gettext("{n} facts could not be applied: {cause}", n=n, cause=cause)
    yield gettext(
        "{n} accounts are their students' again, {m} of them as the directory shows",
        n=found.accounts,
        m=found.activated,
    )
    if found.unknown:
        n = found.unknown
        yield gettext("{n} are not in the log: import the registrar's file, then repeat this", n=n)
    for kind, n in found.questions.items():
        yield gettext("{n} questions ({kind}): sesame adopt questions", n=n, kind=kind)
    if found.asked:
        n = len(found.asked)
        yield gettext("{n} stay shut until you have answered: sesame restored list", n=n)
    yield gettext(
        "Lost: passwords that no target had yet, redirections of mail, the audit, decisions, reasons."
    )


@restored.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those too that were answered.")
@json_option
@pass_context
def list_command(context: Context, *, everything: bool) -> CommandResult:
    """List who stays shut after a restore until somebody answers, oldest first."""
    found = context.run(questions.listed, questions.RestoredRequest(everything=everything))
    return CommandResult(found, partial(_show_list, found))


def _show_list(found: Sequence[questions.AskedAbout]) -> None:
    if found:
        rows = [
            (
                each.student_number,
                ", ".join(each.shown_shut_by),
                words.word("restore_answers", each.state),
                local_time(each.raised_at),
            )
            for each in found
        ]
        columns = gettext("student"), gettext("shown shut by"), gettext("state"), gettext("since")
        show_table(columns, rows)
        commands = "sesame restored open STUDENT --reason …", "sesame restored keep …"
        then = gettext("Then: {one}, or {other}", one=commands[0], other=commands[1])
        remark(then)
    else:
        remark(gettext("Nobody is asked about."))


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
    _answer(context, student, "kept", reason)
    command = f"sesame hold lift {student} --kind {questions.HOLD} --reason …"
    click.echo(gettext("{number}: stays shut until: {command}", number=student, command=command))


def _answer(context: Context, student: str, answered: str, reason: str) -> None:
    given = {"student_number": student, "answer": answered, "reason": reason}
    context.run(questions.answer, questions.RestoredAnswerRequest.model_validate(given))
