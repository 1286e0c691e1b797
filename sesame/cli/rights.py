"""`sesame rights`: who may do what in Kafka, as a file lists it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import click

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option, write, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table

with lazily():
    from pipeline.eventlog.kafka import rights as kafka_rights
    from sesame.app import event_log


@click.group()
def rights() -> None:
    """Kafka's rights (ACLs), as a file lists them: `ops/kafka/acls.toml`."""


_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@rights.command()
@_FILE
@json_option
@pass_context
def diff(context: Context, file: Path) -> None:
    """Show how the rights in Kafka differ from those that FILE lists. Nothing is changed.

    Looks at what `sesame rights apply` looks at. Exit code 0 when nothing differs, 1 when something does, 4
    when Kafka does not answer.
    """
    with _compared(context, file) as (_, missing, too_many):
        if missing or too_many:
            raise click.exceptions.Exit(int(ExitCode.FAILED))


@rights.command()
@_FILE
@dry_run_option
@yes_option
@json_option
@pass_context
def apply(context: Context, file: Path, *, dry_run: bool, yes: bool) -> None:
    """Let each user that FILE names have the rights that it lists, and no others.

    Only rights that name a topic or a group in full are looked at, and only those of users that FILE names.
    Kafka's administrator is needed for this.
    """
    with _compared(context, file) as (granting, missing, too_many):
        count = len(missing) + len(too_many)
        if count and not dry_run:
            if not yes:
                confirm(gettext("Make these {n} changes?", n=count))
            granting.grant(missing)
            granting.revoke(too_many)
            remark(gettext("{n} changes made", n=count))


@contextmanager
def _compared(
    context: Context, file: Path
) -> Iterator[tuple[kafka_rights.Granting, frozenset[kafka_rights.Right], frozenset[kafka_rights.Right]]]:
    """Show missing and surplus rights; return them, and a client to change them.

    Raises NotKafka.
    """
    if context.settings.log.kind != "kafka":
        raise event_log.NotKafka
    context.quiet_logs()
    wanted = kafka_rights.read_rights(file)
    with closing(kafka_rights.Granting(event_log.kafka_access(context.settings))) as granting:
        present = granting.present({right.user for right in wanted})
        missing, too_many = wanted - present, present - wanted
        changes = [("grant", right) for right in sorted(missing)]
        changes += [("revoke", right) for right in sorted(too_many)]
        document = [{"change": change, **right._asdict()} for change, right in changes]
        write(CommandResult(document, partial(_show, changes)))
        yield granting, missing, too_many


def _show(changes: Sequence[tuple[str, kafka_rights.Right]]) -> None:
    if changes:
        show_table(("", "user", "may", "with", "named"), [(change, *right) for change, right in changes])
    else:
        remark(gettext("every user has the rights that the file lists"))
