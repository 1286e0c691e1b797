"""`sesame lost-records`: facts that the log lost before the registry had read them."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator, reason_option
from sesame.cli.options import json_option
from sesame.cli.output import write_json


@click.group(name="lost-records")
def lost_records_group() -> None:
    """Look at what the log lost, and accept it once the facts were brought again."""


@lost_records_group.command(name="list")
@json_option
@pass_context
def list_command(context: Context, *, as_json: bool) -> None:
    """List the losses that nobody has accepted: the consumer stands still until then."""
    from sesame.operations.lost_records import unaccepted

    losses = unaccepted(context.looking, operator())
    if as_json:
        write_json([loss.model_dump() for loss in losses])
        return
    for loss in losses:
        click.echo(
            f"{loss.consumer}: {loss.topic} partition {loss.partition}: offset {loss.offset} was to be read, "
            f"the log begins at {loss.first}"
        )
    if losses:
        click.echo("Import the registrar's file again, then: sesame lost-records accept CONSUMER --reason …")
    else:
        click.echo("Nothing was lost.", err=True)


@lost_records_group.command(name="accept")
@click.argument("consumer")
@reason_option()
@pass_context
def accept_command(context: Context, *, consumer: str, reason: str) -> None:
    """Let CONSUMER go on from where the log begins. Noted in the audit.

    Import the registrar's file again before or after: what was lost are facts, and the file has them.
    """
    from sesame.operations.lost_records import LossAcceptance, accept

    accepted = accept(context.looking, operator(), LossAcceptance(consumer=consumer, reason=reason))
    click.echo(f"{consumer} goes on from where the log begins ({accepted.partitions} partitions)")
