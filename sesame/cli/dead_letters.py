"""`sesame dead-letters`: work that is not retried automatically."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import dry_run_option, json_option, reason_option, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table

with lazily():
    from sesame.operations.people.diagnosis import reasons, words
    from sesame.operations.work import dead_letters as work_dead_letters

_PAGE = 50  # `sesame.operations.work.dead_letters.PAGE`, tested


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Look at what was given up, and why."""


@dead_letters.command(name="list")
@click.option("--consumer", help="Of this consumer only.")
@click.option("--student", help="Of this student number only.")
@click.option("--cause", help="Of this cause only.")
@click.option("--after", metavar="ID", help="Those that follow this one: the next page.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"At most so many; by default {_PAGE}, and with --json all of them.",
)
@json_option
@pass_context
def list_command(
    context: Context,
    *,
    consumer: str | None,
    student: str | None,
    cause: str | None,
    after: str | None,
    limit: int | None,
) -> CommandResult:
    """List unresolved dead letters, oldest first, a page at a time, with a summary of all by cause."""
    asked = work_dead_letters.DeadLettersRequest(
        consumer=consumer, student_number=student, cause=cause, after=after, limit=limit
    )
    return CommandResult(context.run(work_dead_letters.listed, asked), partial(_show_page, context, asked))


def _show_page(context: Context, asked: work_dead_letters.DeadLettersRequest) -> None:
    found = context.run(work_dead_letters.page, asked)
    if not found.letters:
        none = (
            gettext("No unresolved dead letters follow that one.")
            if asked.after
            else gettext("No unresolved dead letters.")
        )
        remark(none)
        return
    rows = [
        (
            letter.id[: work_dead_letters.ID_SHOWN],
            local_time(letter.recorded_at),
            letter.consumer,
            letter.student_number or "",
            letter.cause,
            str(letter.attempts),
            reasons.explain(letter.cause).told(letter.message),
        )
        for letter in found.letters
    ]
    message = gettext("message")
    names = (
        *(gettext("id"), gettext("recorded"), gettext("consumer"), gettext("student")),
        *(gettext("cause"), gettext("attempts"), message),
    )
    show_table(names, rows, folded=message)
    remark(found.text)
    if found.more:
        last = found.letters[-1].id[: work_dead_letters.ID_SHOWN]
        remark(gettext("There are more: add --after {last}", last=last))


@dead_letters.command()
@click.argument("letter")
@json_option
@pass_context
def show(context: Context, *, letter: str) -> CommandResult:
    """Show one dead letter by its id, or the beginning of it, and what to do about it."""
    found = context.run(work_dead_letters.show, letter)
    return CommandResult(found, partial(_show, found))


def _show(letter: work_dead_letters.DeadLetterReport) -> None:
    document = letter.model_dump()
    width = max(len(words.word("dead_letter", name)) for name in document) + 1
    for name, value in document.items():
        if value is not None:
            shown = local_time(value) if isinstance(value, datetime) else value
            click.echo(f"{words.word('dead_letter', name):<{width}} {shown}")


@dead_letters.command(name="dismiss")
@click.argument("letters", nargs=-1, metavar="[LETTER]...")
@click.option("--consumer", help="Of this consumer only.")
@click.option("--cause", help="All of this cause.")
@reason_option()
@dry_run_option
@yes_option
@json_option
@pass_context
def dismiss_command(
    context: Context,
    *,
    letters: tuple[str, ...],
    consumer: str | None,
    cause: str | None,
    reason: str,
    dry_run: bool,
    yes: bool,
) -> CommandResult:
    """Say that nothing is to be done about LETTER..., or about all of --cause: they are listed no more.

    For records that cannot be read and facts that were refused: nobody's account hangs on them. What a target
    could not do for a student is not dismissed, it is replayed. Noted in the audit, with the reason.
    """
    if bool(letters) == (cause is not None):
        raise click.UsageError(gettext("give dead letters' ids, or --cause, and not both"))
    request = work_dead_letters.DismissRequest(
        letters=letters, consumer=consumer, cause=cause, reason=reason, dry_run=True
    )
    done = context.run(work_dead_letters.dismiss, request)
    if not done.found:
        raise click.UsageError(
            gettext("none of these is unresolved. `sesame dead-letters list` shows those that are")
        )
    if not dry_run:
        if not yes:
            question = ngettext(
                "Dismiss {n} dead letter ({text})?",
                "Dismiss {n} dead letters ({text})?",
                done.found,
                text=done.text,
            )
            confirm(question)
        update = {"dry_run": False, "until": done.newest}
        done = context.run(work_dead_letters.dismiss, request.model_copy(update=update))
    text = (
        gettext("{count} would be dismissed: {text}", count=done.found, text=done.text)
        if dry_run
        else gettext("{count} dismissed: {text}", count=done.dismissed, text=done.text)
    )
    return CommandResult(done, partial(click.echo, text))
