"""`sesame topics` and `rights`: Kafka's topics, and who may do what in it, as code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option, write, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table

with lazily():
    from pipeline.eventlog.kafka import plan
    from pipeline.eventlog.kafka import rights as kafka_rights
    from sesame.app import event_log

if TYPE_CHECKING:
    from pipeline.eventlog.kafka import Access


@click.group()
def topics() -> None:
    """Kafka's topics, as the settings want them: partitions, replicas, retention, sizes."""


@topics.command(name="diff")
@json_option
@pass_context
def diff_topics(context: Context) -> CommandResult:
    """Show how Kafka's topics differ from what the settings want. Nothing is changed.

    Exit code 0 when nothing differs, 1 when something does, 4 when Kafka does not answer.
    """
    with closing(plan.Planner(_access(context))) as planner:
        changes = planner.compare(event_log.topic_plans(context.settings))
    return _topics_result(changes)._replace(end=ExitCode.FAILED if changes else ExitCode.DONE)


@topics.command(name="apply")
@dry_run_option
@yes_option
@json_option
@pass_context
def apply_topics(context: Context, *, dry_run: bool, yes: bool) -> None:
    """Create the topics that are missing, and set what differs.

    What would break the order of a student's records (another number of partitions) or move data between
    servers is refused, with the reason; the rest is done. Exit code 3 when something is refused.
    """
    plans = event_log.topic_plans(context.settings)
    with closing(plan.Planner(_access(context))) as planner:
        changes = planner.compare(plans)
        write(_topics_result(changes))
        made = [change for change in changes if not change.why]
        if _is_agreed(len(made), dry_run=dry_run, yes=yes):
            planner.apply(plans, made)
            remark(gettext("{n} changes made", n=len(made)))
    if len(made) < len(changes):
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


def _topics_result(changes: Sequence[plan.TopicChange]) -> CommandResult:
    names = ("topic", "key", "present", "wanted", "why")
    document = [
        {"kind": each.kind.value, **{name: getattr(each, name) for name in names}} for each in changes
    ]
    return CommandResult(document, partial(_show_topics, changes))


def _show_topics(changes: Sequence[plan.TopicChange]) -> None:
    if changes:
        rows = [(c.kind.value, c.topic, c.key, c.present, c.wanted, c.why) for c in changes]
        show_table(("", "topic", "what", "is", "wanted", "why not"), rows, folded="why not")
    else:
        remark(gettext("every topic is as the settings want it"))


@click.group()
def rights() -> None:
    """Kafka's rights (ACLs), as a file lists them: `ops/kafka/acls.toml`."""


_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@rights.command(name="diff")
@_FILE
@json_option
@pass_context
def diff_rights(context: Context, file: Path) -> None:
    """Show how the rights in Kafka differ from those that FILE lists. Nothing is changed.

    Looks at what `sesame rights apply` looks at. Exit code 0 when nothing differs, 1 when something does, 4
    when Kafka does not answer.
    """
    with _compared_rights(context, file) as (_, missing, too_many):
        if missing or too_many:
            raise click.exceptions.Exit(int(ExitCode.FAILED))


@rights.command(name="apply")
@_FILE
@dry_run_option
@yes_option
@json_option
@pass_context
def apply_rights(context: Context, file: Path, *, dry_run: bool, yes: bool) -> None:
    """Let each user that FILE names have the rights that it lists, and no others.

    Only rights that name a topic or a group in full are looked at, and only those of users that FILE names.
    Kafka's administrator is needed for this.
    """
    with _compared_rights(context, file) as (granting, missing, too_many):
        count = len(missing) + len(too_many)
        if _is_agreed(count, dry_run=dry_run, yes=yes):
            granting.grant(missing)
            granting.revoke(too_many)
            remark(gettext("{n} changes made", n=count))


@contextmanager
def _compared_rights(
    context: Context, file: Path
) -> Iterator[tuple[kafka_rights.Granting, frozenset[kafka_rights.Right], frozenset[kafka_rights.Right]]]:
    """Show missing and surplus rights; return them, and a client to change them."""
    access, wanted = _access(context), kafka_rights.read_rights(file)
    with closing(kafka_rights.Granting(access)) as granting:
        present = granting.present({right.user for right in wanted})
        missing, too_many = wanted - present, present - wanted
        changes = [("grant", right) for right in sorted(missing)]
        changes += [("revoke", right) for right in sorted(too_many)]
        document = [{"change": change, **right._asdict()} for change, right in changes]
        write(CommandResult(document, partial(_show_rights, changes)))
        yield granting, missing, too_many


def _show_rights(changes: Sequence[tuple[str, kafka_rights.Right]]) -> None:
    if changes:
        show_table(("", "user", "may", "with", "named"), [(change, *right) for change, right in changes])
    else:
        remark(gettext("every user has the rights that the file lists"))


def _access(context: Context) -> Access:
    """Kafka's addresses and credentials. Raises `NotKafka`."""
    if context.settings.log.kind != "kafka":
        raise event_log.NotKafka
    context.quiet_logs()
    return event_log.kafka_access(context.settings)


def _is_agreed(count: int, *, dry_run: bool, yes: bool) -> bool:
    """Whether to make these changes; asks the operator."""
    if count and not (dry_run or yes):
        confirm(gettext("Make these {n} changes?", n=count))
    return bool(count) and not dry_run
