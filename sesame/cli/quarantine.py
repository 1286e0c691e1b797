"""`sesame quarantine`: consumers that stopped because too much of their work was given up for good."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator_name, reason_option
from sesame.cli.options import json_option
from sesame.cli.output import write_json


class NotInQuarantine(SesameError):
    """This consumer is not in quarantine. `sesame quarantine list` shows which are."""


@click.group()
def quarantine() -> None:
    """Look at consumers in quarantine, and let them go on."""


@quarantine.command(name="list")
@json_option
@pass_context
def list_command(context: Context, *, as_json: bool) -> None:
    """List the consumers in quarantine, why and since when. Exit code 0 even if there are some."""
    from pipeline import quarantine

    with context.looking.database.read() as connection:
        found = quarantine.every(connection)
    if as_json:
        write_json(
            [{"consumer": one.consumer, "since": _utc(one.since), "reason": one.reason} for one in found]
        )
        return
    for one in found:
        click.echo(f"{one.consumer}: since {_utc(one.since)}: {one.reason}")
        click.echo(f"  sesame dead-letters list --consumer {one.consumer}")
        click.echo(f"  once that is mended: sesame quarantine lift {one.consumer} --reason …")
    if not found:
        click.echo("No consumer is in quarantine.", err=True)


@quarantine.command(name="lift")
@click.argument("consumer")
@reason_option()
@pass_context
def lift_command(context: Context, *, consumer: str, reason: str) -> None:
    """Let CONSUMER go on, in every process, within seconds. Noted in the audit.

    What it gave up meanwhile stays in the dead letters: `sesame replay --consumer CONSUMER --cause …`.
    """
    from pipeline import quarantine
    from pipeline.audit import operator_notes

    app = context.looking
    with app.database.write() as connection:
        if not quarantine.lift(connection, consumer):
            raise NotInQuarantine(f"{consumer} is not in quarantine")
        operator_notes.keep_and_audit(
            connection,
            app.database,
            action="quarantine.lift",
            about=consumer,
            student_number=None,
            actor=operator_name(),
            words=reason,
            detail={"consumer": consumer},
        )
    click.echo(f"{consumer} goes on; what it gave up: sesame dead-letters list --consumer {consumer}")


def _utc(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
