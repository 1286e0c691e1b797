"""`sesame dead-letters`: work that is not tried again by itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator, reason_option
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import show_table, write_json, write_json_list

if TYPE_CHECKING:
    from pipeline.dead_letters import DeadLetter

_PAGE = 50


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
    as_json: bool,
) -> None:
    """List unresolved dead letters, oldest first, a page at a time, with a summary of all by cause."""
    from pipeline import dead_letters as store
    from sesame.operations.dead_letters import ID_SHOWN, only, summary

    which = store.Which(consumer, student, cause)
    with context.looking.database.read() as connection:
        last = only(connection, after) if after is not None else None
        if as_json:
            write_json_list(_document(one) for one in store.each(connection, which, last, limit))
            return
        letters = list(store.each(connection, which, last, (limit or _PAGE) + 1))
        counts = store.counts(connection, which)
    if not letters:
        click.echo("No unresolved dead letters" + (" follow that one." if after else "."), err=True)
        return
    more = len(letters) > (limit or _PAGE)
    letters = letters[: limit or _PAGE]
    names = ("id", "recorded", "consumer", "student", "cause", "attempts", "message")
    rows = [
        (
            letter.id[:ID_SHOWN],
            _time(letter.recorded_at),
            letter.consumer,
            letter.student_number or "",
            letter.cause,
            str(letter.attempts),
            letter.message,
        )
        for letter in letters
    ]
    show_table(dict.fromkeys(names, "left"), rows, folded="message")
    click.echo(summary(counts), err=True)
    if more:
        click.echo(f"There are more: add --after {letters[-1].id[:ID_SHOWN]}", err=True)


@dead_letters.command()
@click.argument("letter")
@json_option
@pass_context
def show(context: Context, *, letter: str, as_json: bool) -> None:
    """Show one dead letter by its id, or the beginning of it, and what to do about it."""
    from sesame.operations.dead_letters import only

    with context.looking.database.read() as connection:
        document = _document(only(connection, letter))
    if as_json:
        write_json(document)
        return
    for name, value in document.items():
        if value is not None:
            click.echo(f"{name:<15} {value}")


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
    as_json: bool,
) -> None:
    """Say that nothing is to be done about LETTER..., or about all of --cause: they are listed no more.

    For records that cannot be read and facts that were refused: nobody's account hangs on them. What a target
    could not do for a student is not dismissed, it is replayed. Noted in the audit, with the reason.
    """
    from sesame.operations.dead_letters import Dismissal, dismiss

    if bool(letters) == (cause is not None):
        raise click.UsageError("give dead letters' ids, or --cause, and not both")
    site = context.looking
    request = Dismissal(letters=letters, consumer=consumer, cause=cause, reason=reason, dry_run=True)
    done = dismiss(site, operator(), request)
    if not done.found:
        raise click.UsageError("none of these is unresolved. `sesame dead-letters list` shows those that are")
    if not dry_run:
        if not yes:
            click.confirm(f"Dismiss {done.found} dead letters ({done.text})?", abort=True, err=True)
        update = {"dry_run": False, "until": done.newest}
        done = dismiss(site, operator(), request.model_copy(update=update))
    if as_json:
        write_json(done.model_dump())
    else:
        verb = f"{done.found} would be" if dry_run else str(done.dismissed)
        click.echo(f"{verb} dismissed: {done.text}")


def _document(letter: DeadLetter) -> dict[str, object]:
    from sesame.operations.diagnosis import explain

    document: dict[str, object] = asdict(letter)
    for name in ("recorded_at", "resolved_at"):
        moment = document[name]
        if isinstance(moment, float):
            document[name] = datetime.fromtimestamp(moment, UTC).isoformat()
    words = explain(letter.cause)
    document["meaning"], document["next"] = words.what, words.next
    if letter.student_number is not None and letter.resolved_at is None:
        document["replay"] = f"sesame replay --consumer {letter.consumer} --student {letter.student_number}"
    return document


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
