"""`sesame processes`, `quarantine`, `lost-records`: running and stopped consumers."""

from __future__ import annotations

from functools import partial

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option, reason_option
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.operations.people.diagnosis import processes as diagnosis_processes
    from sesame.operations.people.diagnosis import words
    from sesame.operations.targets import stopped_consumers


@click.group()
def processes() -> None:
    """Look at the processes that run consumers, and see off one that has died."""


@processes.command(name="list")
@json_option
@pass_context
def list_processes(context: Context) -> CommandResult:
    """List each consumer's processes by their last sign of life. One that ended properly is not listed."""
    found = context.run(diagnosis_processes.listed)
    return CommandResult(found, partial(_show_processes, found))


def _show_processes(found: dict[str, diagnosis_processes.ConsumerProcess]) -> None:
    rows = []
    for name, one in found.items():
        rows += [[name, each.words, local_time(each.seen_at), each.reason] for each in one.processes]
        if not one.processes:
            rows.append([name, words.word("states", one.state), "", one.reason])
    reason = gettext("reason")
    show_table((gettext("consumer"), gettext("process"), gettext("seen"), reason), rows, folded=reason)


@processes.command(name="forget")
@click.argument("process")
@pass_context
def forget_command(context: Context, *, process: str) -> None:
    """Forget PROCESS (host:pid), which has died and is not to come back. Noted in the audit."""
    done = context.run(diagnosis_processes.forget, process)
    names = ", ".join(done.consumers)
    click.echo(gettext("{process} is forgotten: {names}", process=process, names=names))


@click.group()
def quarantine() -> None:
    """Look at consumers in quarantine, and let them go on."""


@quarantine.command(name="list")
@json_option
@pass_context
def list_quarantine(context: Context) -> CommandResult:
    """List the consumers in quarantine, why and since when. Exit code 0 even if there are some."""
    found = context.run(stopped_consumers.quarantined)
    return CommandResult(found, partial(_show_quarantine, found))


def _show_quarantine(found: list[stopped_consumers.QuarantinedConsumer]) -> None:
    for one in found:
        since = local_time(one.since)
        click.echo(
            gettext(
                "{consumer}: since {time}: {reason}", consumer=one.consumer, time=since, reason=one.reason
            )
        )
        click.echo(f"  sesame dead-letters list --consumer {one.consumer}")
        command = f"sesame quarantine lift {one.consumer} --reason …"
        click.echo("  " + gettext("once that is mended: {command}", command=command))
    if not found:
        remark(gettext("No consumer is in quarantine."))


@quarantine.command(name="lift")
@click.argument("consumer")
@reason_option()
@pass_context
def lift_command(context: Context, *, consumer: str, reason: str) -> None:
    """Let CONSUMER go on, in every process, within seconds. Noted in the audit.

    What it gave up meanwhile stays in the dead letters: `sesame replay --consumer CONSUMER --cause …`.
    """
    context.run(stopped_consumers.lift, stopped_consumers.QuarantineLift(consumer=consumer, reason=reason))
    command = f"sesame dead-letters list --consumer {consumer}"
    click.echo(gettext("{consumer} goes on; what it gave up: {command}", consumer=consumer, command=command))


@click.group(name="lost-records")
def lost_records_group() -> None:
    """Look at what the log lost, and accept it once the facts were brought again."""


@lost_records_group.command(name="list")
@json_option
@pass_context
def list_lost_records(context: Context) -> CommandResult:
    """List the losses that nobody has accepted: the consumer stands still until then."""
    losses = context.run(stopped_consumers.unaccepted)
    return CommandResult(losses, partial(_show_lost, losses))


def _show_lost(losses: list[stopped_consumers.LostRange]) -> None:
    for loss in losses:
        click.echo(
            gettext(
                "{consumer}: {topic} partition {partition}: offset {offset} was to be read, "
                "the log begins at {first}",
                consumer=loss.consumer,
                topic=loss.topic,
                partition=loss.partition,
                offset=loss.offset,
                first=loss.first,
            )
        )
    if losses:
        command = "sesame lost-records accept CONSUMER --reason …"
        click.echo(gettext("Import the registrar's file again, then: {command}", command=command))
    else:
        remark(gettext("Nothing was lost."))


@lost_records_group.command(name="accept")
@click.argument("consumer")
@reason_option()
@pass_context
def accept_command(context: Context, *, consumer: str, reason: str) -> None:
    """Let CONSUMER go on from where the log begins. Noted in the audit.

    Import the registrar's file again before or after: what was lost are facts, and the file has them.
    """
    accepted = context.run(
        stopped_consumers.accept, stopped_consumers.QuarantineLift(consumer=consumer, reason=reason)
    )
    click.echo(
        ngettext(
            "{consumer} goes on from where the log begins ({n} partition)",
            "{consumer} goes on from where the log begins ({n} partitions)",
            accepted.partitions,
            consumer=consumer,
        )
    )
