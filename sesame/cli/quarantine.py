"""`sesame quarantine`: consumers that stopped because too much of their work was given up for good."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator, reason_option
from sesame.cli.options import json_option
from sesame.cli.output import write_json


@click.group()
def quarantine() -> None:
    """Look at consumers in quarantine, and let them go on."""


@quarantine.command(name="list")
@json_option
@pass_context
def list_command(context: Context, *, as_json: bool) -> None:
    """List the consumers in quarantine, why and since when. Exit code 0 even if there are some."""
    from sesame.operations.quarantine import quarantined

    found = quarantined(context.looking, operator())
    if as_json:
        write_json([one.model_dump() for one in found])
        return
    for one in found:
        click.echo(f"{one.consumer}: since {one.since.isoformat()}: {one.reason}")
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
    from sesame.operations.quarantine import Lift, lift

    lift(context.looking, operator(), Lift(consumer=consumer, reason=reason))
    click.echo(f"{consumer} goes on; what it gave up: sesame dead-letters list --consumer {consumer}")
