"""`sesame replay`: let a consumer compare students with its target again."""

from __future__ import annotations

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator_name, reason_option
from sesame.cli.options import dry_run_option, json_option, yes_option
from sesame.cli.output import write_json


class NobodyToReplay(SesameError):
    """Nobody is selected: nothing was published."""


@click.command()
@click.option("--consumer", required=True, help="The target's name: directory, mailbox, moodle or timetable.")
@click.option("--student", "students", multiple=True, help="This student number; may be given several times.")
@click.option("--cause", help="Everybody with an unresolved dead letter of this cause.")
@click.option("--all", "everybody", is_flag=True, help="Everybody who has activated.")
@reason_option(default="operator")
@dry_run_option
@yes_option
@json_option
@pass_context
def replay(
    context: Context,
    *,
    consumer: str,
    students: tuple[str, ...],
    cause: str | None,
    everybody: bool,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Compare students with the CONSUMER's target and write what differs.

    A replay is harmless: where nothing differs nothing is written. One or more students, or a cause, are
    replayed in the personal lane; --all in the bulk lane, behind everybody who is waiting.
    """
    from producers.replay import Selection, select_students
    from producers.replay import replay as publish
    from schemas.account import Lane
    from sesame.wiring import utc_now

    app = context.looking
    if consumer not in app.settings.targets:
        raise click.BadParameter(f"{consumer!r} is none of {', '.join(app.settings.targets)}")
    try:
        selection = Selection(students, cause, everybody)
    except ValueError as error:
        raise click.UsageError("give --student, --cause or --all, and one of them only") from error
    selected = select_students(app.database, consumer, selection)
    for number in selected.unknown:
        click.echo(f"{number}: no such account", err=True)
    for number in selected.not_activated:
        click.echo(f"{number}: not activated, no target is touched for this student", err=True)
    count = len(selected.students)
    if dry_run:
        document = {"consumer": consumer, "students": count, "published": False}
        write_json(document) if as_json else click.echo(f"{count} students would be compared with {consumer}")
        return
    if not count:
        raise NobodyToReplay
    if everybody and not yes:
        click.confirm(f"Compare {count} students with {consumer}?", abort=True, err=True)
    report = publish(
        selected.students,
        consumer=consumer,
        reason=reason,
        actor=operator_name(),
        lane=Lane.BULK if everybody else Lane.PERSONAL,
        producer=app.producer,
        database=app.database,
        clock=utc_now,
    )
    if as_json:
        write_json(
            {"consumer": consumer, "students": count, "published": True, "replay_id": report.replay_id}
        )
    else:
        click.echo(f"{count} students are compared with {consumer} (replay {report.replay_id})")
