"""`sesame targets`: show each target's state, pause or resume it, probe it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, reason_option
from sesame.cli.output import CommandResult, show_table

with lazily():
    from sesame.operations.people.diagnosis import words
    from sesame.operations.targets import acts as targets_acts


@click.group()
def targets() -> None:
    """Look at the targets, keep their consumers away from one, and let them go on."""


@targets.command(name="list")
@json_option
@pass_context
def list_command(context: Context) -> CommandResult:
    """List the targets: their state, who paused one and why, and what is Sésame's in each."""
    found = context.run(targets_acts.listed)
    return CommandResult(found, partial(_show, found))


def _show(found: Sequence[targets_acts.TargetLine]) -> None:
    rows = []
    for one in found:
        said = one.fault or one.reason
        if one.paused is not None:
            paused = {"actor": one.paused.actor, "time": local_time(one.paused.since)}
            said = gettext("paused by {actor} since {time}: {reason}", reason=one.paused.reason, **paused)
        rows.append([one.target, words.word("states", one.state), str(one.lag), said, ", ".join(one.owns)])
    names = gettext("target"), gettext("state"), gettext("lag"), gettext("reason"), gettext("owns")
    show_table(names, rows, right={names[2]}, folded=names[4])


@targets.command(name="pause")
@click.argument("target")
@reason_option()
@pass_context
def pause_command(context: Context, *, target: str, reason: str) -> None:
    """Send no work to TARGET any more, from any process, within seconds. Noted in the audit.

    Calls under way end, what comes meanwhile waits in the log, and nobody is charged an attempt. Access that
    is to be shut there waits too.
    """
    context.run(targets_acts.pause, targets_acts.TargetRequest(target=target, reason=reason))
    command = f"sesame targets resume {target} --reason …"
    click.echo(gettext("{target} is paused; to go on: {command}", target=target, command=command))


@targets.command(name="resume")
@click.argument("target")
@reason_option()
@pass_context
def resume_command(context: Context, *, target: str, reason: str) -> None:
    """Let the consumer of TARGET go on, in every process, within seconds. Noted in the audit."""
    context.run(targets_acts.resume, targets_acts.TargetRequest(target=target, reason=reason))
    click.echo(gettext("{target} goes on", target=target))


@targets.command(name="probe")
@click.argument("target")
@json_option
@pass_context
def probe_command(context: Context, *, target: str) -> CommandResult:
    """Exercise the whole path to TARGET from here, on no student's object. Exit code 4: it does not work."""
    found = context.run(targets_acts.probe, target)
    text = gettext("{target}: {text} ({seconds} s)", target=target, text=found.text, seconds=found.seconds)
    end = ExitCode.DONE if found.well else ExitCode.DEPENDENCY_DOWN
    return CommandResult(found, partial(click.echo, text), end)
