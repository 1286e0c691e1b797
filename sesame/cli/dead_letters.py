"""`sesame dead-letters`: work that is not tried again by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator_name, reason_option
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import show_table, write_json, write_json_list

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipeline.dead_letters import DeadLetter
    from sesame.app.wiring import Application

_SHORT = 12  # characters of an id that tell one from another
_PAGE = 50


class NoSuchDeadLetter(SesameError):
    """No dead letter has an id that starts so. `sesame dead-letters list` shows them."""


class SeveralDeadLetters(SesameError):
    """Several dead letters have ids that start so: give more characters."""


class StillOwed(SesameError):
    """What a target could not do for a student stays listed until it is done: dismissing it would hide a
    student without a service. Mend its cause, then replay."""


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

    which = store.Which(consumer, student, cause)
    with context.looking.database.read() as connection:
        last = _only(connection, after) if after is not None else None
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
            letter.id[:_SHORT],
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
    click.echo(_summary(counts), err=True)
    if more:
        click.echo(f"There are more: add --after {letters[-1].id[:_SHORT]}", err=True)


@dead_letters.command()
@click.argument("letter")
@json_option
@pass_context
def show(context: Context, *, letter: str, as_json: bool) -> None:
    """Show one dead letter by its id, or the beginning of it, and what to do about it."""
    with context.looking.database.read() as connection:
        document = _document(_only(connection, letter))
    if as_json:
        write_json(document)
        return
    for name, value in document.items():
        if value is not None:
            click.echo(f"{name:<15} {value}")


@dead_letters.command()
@click.argument("letters", nargs=-1, metavar="[LETTER]...")
@click.option("--consumer", help="Of this consumer only.")
@click.option("--cause", help="All of this cause.")
@reason_option()
@dry_run_option
@yes_option
@json_option
@pass_context
def dismiss(
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
    from pipeline import dead_letters as store

    if bool(letters) == (cause is not None):
        raise click.UsageError("give dead letters' ids, or --cause, and not both")
    app = context.looking
    with app.database.read() as connection:
        if cause is not None:
            found = store.unresolved(connection, consumer=consumer, cause=cause)
        else:
            found = [_only(connection, letter) for letter in letters]
    chosen = list({letter.id: letter for letter in found if letter.resolved_at is None}.values())
    if not chosen:
        raise click.UsageError("none of these is unresolved. `sesame dead-letters list` shows those that are")
    _refuse_targets(chosen, app.settings.targets)
    if not dry_run and not yes:
        click.confirm(
            f"Dismiss {len(chosen)} dead letters ({_summary(_counted(chosen))})?", abort=True, err=True
        )
    count = 0 if dry_run else _dismiss(app, chosen, reason)
    if as_json:
        write_json({"dismissed": count, "found": len(chosen), "dry_run": dry_run})
    else:
        verb = f"{len(chosen)} would be" if dry_run else str(count)
        click.echo(f"{verb} dismissed: {_summary(_counted(chosen))}")


def _dismiss(app: Application, chosen: list[DeadLetter], reason: str) -> int:
    from pipeline import dead_letters
    from pipeline.audit import operator_notes

    with app.database.write() as connection:
        operator_notes.keep_and_audit(
            connection,
            app.database,
            action="dead_letters.dismiss",
            about=chosen[0].cause,
            student_number=None,
            actor=operator_name(),
            words=reason,
            detail={"count": len(chosen), "by_cause": _summary(_counted(chosen)), "first": chosen[0].id},
        )
        return dead_letters.dismiss(connection, chosen, now=app.database.now(connection))


def _refuse_targets(chosen: list[DeadLetter], targets: Collection[str]) -> None:
    for letter in chosen:
        if letter.consumer in targets and letter.student_number is not None:
            raise StillOwed(
                f"{letter.id[:_SHORT]} is what {letter.consumer} could not do for {letter.student_number}",
                remedy="Mend its cause, then: "
                f"sesame replay --consumer {letter.consumer} --student {letter.student_number}",
            )


def _only(connection: Connection, prefix: str) -> DeadLetter:
    from pipeline import dead_letters as store

    found = store.by_id(connection, prefix)
    if not found:
        raise NoSuchDeadLetter(f"no dead letter {prefix!r}")
    if len(found) > 1:
        raise SeveralDeadLetters(f"{prefix!r} begins {', '.join(one.id[:_SHORT] for one in found)}")
    return found[0]


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


def _counted(letters: Iterable[DeadLetter]) -> Counter[tuple[str, str]]:
    return Counter((letter.consumer, letter.cause) for letter in letters)


def _summary(counts: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{consumer} {cause}: {count}" for (consumer, cause), count in sorted(counts.items()))


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
