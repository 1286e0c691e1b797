"""`sesame topics`: Kafka's topics as code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import click

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option, write, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table

with lazily():
    from pipeline.eventlog.kafka import plan
    from sesame.app import event_log


@click.group()
def topics() -> None:
    """Kafka's topics, as the settings want them: partitions, replicas, retention, sizes."""


@topics.command()
@json_option
@pass_context
def diff(context: Context) -> CommandResult:
    """Show how Kafka's topics differ from what the settings want. Nothing is changed.

    Exit code 0 when nothing differs, 1 when something does, 4 when Kafka does not answer.
    """
    with _planner(context) as planner:
        changes = planner.compare(event_log.topic_plans(context.settings))
    return _answer(changes)._replace(end=ExitCode.FAILED if changes else ExitCode.DONE)


@topics.command()
@dry_run_option
@yes_option
@json_option
@pass_context
def apply(context: Context, *, dry_run: bool, yes: bool) -> None:
    """Create the topics that are missing, and set what differs.

    What would break the order of a student's records (another number of partitions) or move data between
    servers is refused, with the reason; the rest is done. Exit code 3 when something is refused.
    """
    plans = event_log.topic_plans(context.settings)
    with _planner(context) as planner:
        changes = planner.compare(plans)
        write(_answer(changes))
        made = [change for change in changes if not change.why]
        if made and not dry_run:
            if not yes:
                confirm(gettext("Make these {n} changes?", n=len(made)))
            planner.apply(plans, made)
            remark(gettext("{n} changes made", n=len(made)))
    if len(made) < len(changes):
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


@contextmanager
def _planner(context: Context) -> Iterator[plan.Planner]:
    """Raises NotKafka."""
    if context.settings.log.kind != "kafka":
        raise event_log.NotKafka
    context.quiet_logs()
    with closing(plan.Planner(event_log.kafka_access(context.settings))) as planner:
        yield planner


def _answer(changes: Sequence[plan.TopicChange]) -> CommandResult:
    names = ("topic", "key", "present", "wanted", "why")
    document = [
        {"kind": each.kind.value, **{name: getattr(each, name) for name in names}} for each in changes
    ]
    return CommandResult(document, partial(_show, changes))


def _show(changes: Sequence[plan.TopicChange]) -> None:
    if changes:
        rows = [(c.kind.value, c.topic, c.key, c.present, c.wanted, c.why) for c in changes]
        columns = ("", "topic", "what", "is", "wanted", "why not")
        show_table(columns, rows, folded="why not")
    else:
        remark(gettext("every topic is as the settings want it"))
