"""`sesame status` and `students`: where one student stands, and who is in which state, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from schemas.language import gettext
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import data_console, show_table, write_json

if TYPE_CHECKING:
    from rich.text import Text

    from sesame.operations.diagnosis import PersonStatus, TargetStatus
    from sesame.operations.diagnosis.person import EndedStep
    from sesame.operations.diagnosis.students import ListedStudent

_INDENT = " " * 11
_COLOURS = {"provisioned": "green", "waiting": "yellow", "failed": "red bold", "down": "red"}


@click.command()
@click.argument("student")
@json_option
@pass_context
def status(context: Context, *, student: str, as_json: bool) -> None:
    """Show where STUDENT stands: each target's state, since when, the cause, and what happens next."""
    from sesame.operations.status import show

    def merged(other: str) -> None:
        click.echo(f"{student} is {other}, as an operator decided", err=True)

    site = context.looking
    found = show(site, operator(), student, merged=merged)
    if as_json:
        write_json(found.model_dump())
    else:
        _show(found, uses_cas=site.settings.cas.server_url is not None)


def _show(person: PersonStatus, *, uses_cas: bool) -> None:
    from rich.text import Text

    console = data_console()
    holds = f", held: {', '.join(person.holds)}" if person.holds else ""
    console.print(
        f"{person.student_number}  {person.login}  {person.mail}\n"
        f"{person.state}: version {person.version}, {person.stage}{holds}"
    )
    for words in _ending(person):
        console.print(words)
    for note in person.hold_notes:
        console.print(f"held as {note.hold} since {_time(note.since)} by {note.actor}: {note.words}")
    if person.activated_at is not None:
        console.print(f"activated {_time(person.activated_at)}")
    if person.completed_at is not None and person.elapsed_s is not None:
        console.print(
            f"complete {_time(person.completed_at)}, {person.elapsed_s:.1f} s after it was asked for"
        )
    for target in person.targets:
        for line in _lines(target):
            console.print(line)
    if person.login_seen_at is not None:
        console.print(
            Text.assemble("cas        ", ("seen", "green"), f", since {_time(person.login_seen_at)}")
        )
    elif uses_cas:
        console.print(
            "cas        not_seen\n" + f"{_INDENT}cause: No login of this student's has come back yet."
        )


def _ending(person: PersonStatus) -> Iterator[str]:
    """Of a student with no enrolment in force: which ones ended, and what becomes of the account."""
    if person.enrolled or not person.ended:
        return
    cancelled = [each for each in person.ended if each.cancelled]
    over = [each for each in person.ended if not each.cancelled]
    if cancelled:
        yield gettext("cancelled by the registrar: {steps}", steps=_steps(cancelled))
    if over:
        yield gettext("of a year that is over: {steps}", steps=_steps(over))
    day = "" if person.valid_until is None else person.valid_until.isoformat()
    if person.stage == "grace":
        yield gettext(
            "no enrolment is in force: access stays open until {day}, then the account expires. It goes on "
            "if a file of the registrar's has an enrolment in force again.",
            day=day,
        )
    elif person.stage == "expired":
        yield gettext(
            "no enrolment is in force: access has been shut since {day}. It opens again if a file of the "
            "registrar's has an enrolment in force.",
            day=day,
        )
    elif person.stage == "precreated":
        yield gettext(
            "no enrolment is in force: the account was never opened, and opens only when a file of the "
            "registrar's has one."
        )


def _steps(ended: list[EndedStep]) -> str:
    return ", ".join(f"{each.year} {each.step}-{each.step_version}" for each in ended)


def _lines(target: TargetStatus) -> Iterator[Text | str]:
    from rich.text import Text

    since = f", since {_time(target.since)}" if target.since else ""
    yield Text.assemble(
        f"{target.target:<10} ",
        (target.state, _COLOURS.get(target.state, "")),
        since,
        f" (has version {target.version})" if target.version else "",
    )
    if target.cause:
        yield f"{_INDENT}cause: {target.cause}"
    if target.pending:
        yield f"{_INDENT}pending: {', '.join(target.pending)}"
    if target.next:
        yield f"{_INDENT}next: {target.next}"


def _time(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


_LIMIT, _LIMIT_MAX = 50, 1000


@click.command()
@click.option("--state", help="completed, waiting, retrying, failed or in_progress.")
@click.option("--cause", help="Who waits, is tried again or was given up for this, as `overview` names it.")
@click.option("--after", metavar="STUDENT", default="", help="Those that follow this number: the next page.")
@click.option(
    "--limit", type=click.IntRange(1, _LIMIT_MAX), default=_LIMIT, show_default=True, help="At most so many."
)
@json_option
@pass_context
def students(
    context: Context, *, state: str | None, cause: str | None, after: str, limit: int, as_json: bool
) -> None:
    """List the activated students in a state, or for a cause, by number."""
    from sesame.operations.diagnosis.students import PageAsked, listed

    asked = PageAsked(state=state, cause=cause, after=after, limit=limit)
    page = listed(context.looking, operator(), asked)
    if as_json:
        write_json(page.model_dump())
        return
    if not page.students:
        click.echo("Nobody.", err=True)
        return
    rows = [(one.person.student_number, one.person.state, "; ".join(_targets(one))) for one in page.students]
    show_table(("student", "state", "targets"), rows, folded="targets")
    if page.next is not None:
        click.echo(f"There are more: add --after {page.next}", err=True)


def _targets(student: ListedStudent) -> Iterator[str]:
    """What there is to say of targets that do not have everything, and of those that are tried again."""
    for name, one in student.person.targets.items():
        retry = student.retrying.get(name)
        if retry is not None:
            yield f"{name} tried again since {retry.since:%Y-%m-%d %H:%M:%S} UTC: {retry.cause}"
        elif one["state"] != "provisioned":
            yield f"{name} {one['state']}" + (f": {one['reason']}" if one["reason"] else "")
