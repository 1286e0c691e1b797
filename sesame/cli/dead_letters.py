"""`sesame dead-letters`: work that is not tried again by itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from pipeline.errors import SesameError
from pipeline.store import dead_letters as store
from pipeline.store.dead_letters import DeadLetter
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import show_table, write_json
from sesame.diagnosis import explain

_SHORT = 12  # characters of an id that tell one from another


class NoSuchDeadLetter(SesameError):
    """No dead letter has an id that starts so. `sesame dead-letters list` shows them."""


class SeveralDeadLetters(SesameError):
    """Several dead letters have ids that start so: give more characters."""


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Look at what was given up, and why."""


@dead_letters.command(name="list")
@click.option("--consumer", help="Of this consumer only.")
@click.option("--student", help="Of this student number only.")
@click.option("--cause", help="Of this cause only.")
@json_option
@pass_context
def list_command(
    context: Context, *, consumer: str | None, student: str | None, cause: str | None, as_json: bool
) -> None:
    """List unresolved dead letters, oldest first, with a summary by cause."""
    with context.looking.database.read() as connection:
        letters = store.unresolved(connection, consumer=consumer, student_number=student, cause=cause)
    if as_json:
        write_json([_document(letter) for letter in letters])
        return
    if not letters:
        click.echo("No unresolved dead letters.", err=True)
        return
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
    click.echo(_summary(letters), err=True)


@dead_letters.command()
@click.argument("letter")
@json_option
@pass_context
def show(context: Context, *, letter: str, as_json: bool) -> None:
    """Show one dead letter by its id, or the beginning of it, and what to do about it."""
    with context.looking.database.read() as connection:
        found = store.by_id(connection, letter)
    if not found:
        raise NoSuchDeadLetter(f"no dead letter {letter!r}")
    if len(found) > 1:
        raise SeveralDeadLetters(f"{letter!r} begins {', '.join(one.id[:_SHORT] for one in found)}")
    document = _document(found[0])
    if as_json:
        write_json(document)
        return
    for name, value in document.items():
        if value is not None:
            click.echo(f"{name:<15} {value}")


def _document(letter: DeadLetter) -> dict[str, object]:
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


def _summary(letters: list[DeadLetter]) -> str:
    counts: dict[tuple[str, str], int] = {}
    for letter in letters:
        counts[letter.consumer, letter.cause] = counts.get((letter.consumer, letter.cause), 0) + 1
    return ", ".join(f"{consumer} {cause}: {count}" for (consumer, cause), count in sorted(counts.items()))


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
