"""`sesame rights`: who may do what in Kafka, as a file lists it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import show_table, write_json
from sesame.cli.topics import NotKafka


@click.group()
def rights() -> None:
    """Kafka's rights (ACLs), as a file lists them: `ops/kafka/acls.toml`."""


@rights.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@dry_run_option
@yes_option
@json_option
@pass_context
def apply(context: Context, file: Path, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Let each user that FILE names have the rights that it lists, and no others.

    Only rights that name a topic or a group in full are looked at, and only those of users that FILE names.
    Kafka's administrator is needed for this. With --dry-run: exit code 1 when something differs.
    """
    if context.settings.log.kind != "kafka":
        raise NotKafka
    from pipeline.eventlog.kafka.rights import Granting, read_rights
    from sesame.event_log import kafka_access

    context.quiet_logs()
    wanted = read_rights(file)
    with closing(Granting(kafka_access(context.settings))) as granting:
        present = granting.present({right.user for right in wanted})
        changes = [("grant", right) for right in sorted(wanted - present)]
        changes += [("revoke", right) for right in sorted(present - wanted)]
        if as_json:
            write_json([{"change": change, **right._asdict()} for change, right in changes])
        elif changes:
            columns = ("", "user", "may", "with", "named")
            show_table(dict.fromkeys(columns, "left"), [(change, *right) for change, right in changes])
        else:
            click.echo("every user has the rights that the file lists", err=True)
        if changes and dry_run:
            raise click.exceptions.Exit(int(ExitCode.FAILED))
        if changes:
            if not yes:
                click.confirm(f"Make these {len(changes)} changes?", abort=True, err=True)
            granting.grant(wanted - present)
            granting.revoke(present - wanted)
            click.echo(f"{len(changes)} changes made", err=True)
