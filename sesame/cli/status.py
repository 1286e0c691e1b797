"""`sesame status` and `students`: one student's state, and students by state.

The list comes a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import click

from schemas.language import gettext, local_day, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, coloured, remark, show_table

with lazily():
    from schemas import account
    from sesame.operations.people import status as people_status
    from sesame.operations.people import student as people_student
    from sesame.operations.people.diagnosis import person as diagnosis_person
    from sesame.operations.people.diagnosis import reasons
    from sesame.operations.people.diagnosis import students as diagnosis_students
    from sesame.operations.people.diagnosis import words as diagnosis_words

_INDENT = " " * 11
_COLOURS: Final = {"provisioned": "green", "waiting": "yellow", "failed": "red", "down": "red"}


@click.command()
@click.argument("student")
@click.option(
    "--timeline",
    is_flag=True,
    help="Show what has happened instead, the newest first, every attempt at a target among it.",
)
@json_option
@pass_context
def status(context: Context, *, student: str, timeline: bool) -> CommandResult:
    """Show where STUDENT stands: each target's state, since when, the cause, and what happens next."""
    if timeline:
        return _timeline(context, student)

    def merged(other: str) -> None:
        said = gettext("{number} is {other}, as an operator decided", number=student, other=other)
        remark(said)

    found = context.run(people_status.show, student, merged=merged)
    return CommandResult(found, partial(_show, found, uses_cas=context.settings.cas.server_url is not None))


def _timeline(context: Context, student: str) -> CommandResult:
    found = context.run(people_student.timeline, student)

    def show() -> None:
        for one in found.moments:
            said = f' "{one.said}"' if one.said else ""
            click.echo(f"{local_time(one.at)}  {one.consumer or '-':<10} {one.what}{said}")

    return CommandResult(found, show)


def _show(person: diagnosis_person.PersonStatus, *, uses_cas: bool) -> None:
    click.echo(f"{person.student_number}  {person.login}  {person.mail}")
    state, stage = diagnosis_words.word("states", person.state), diagnosis_words.word("stages", person.stage)
    line = gettext("{state}: version {version}, {stage}", state=state, version=person.version, stage=stage)
    if person.holds:
        holds = ", ".join(diagnosis_words.word("holds", hold) for hold in person.holds)
        line = gettext("{line}, held: {holds}", line=line, holds=holds)
    click.echo(line)
    for words in _ending(person):
        click.echo(words)
    for note in person.hold_notes:
        said = gettext(
            "held as {hold} since {time} by {actor}: {words}",
            hold=diagnosis_words.word("holds", note.hold),
            time=local_time(note.since),
            actor=note.actor,
            words=note.words,
        )
        click.echo(said)
    if person.activated_at is not None:
        click.echo(gettext("activated {time}", time=local_time(person.activated_at)))
    if person.completed_at is not None and person.elapsed_s is not None:
        time, seconds = local_time(person.completed_at), f"{person.elapsed_s:.1f}"
        click.echo(gettext("complete {time}, {seconds} s after it was asked for", time=time, seconds=seconds))
    for target in person.targets:
        click.echo("\n".join(_lines(target)))
    seen = person.login_seen_at
    if seen is not None:
        state = coloured(diagnosis_words.word("states", "seen"), "green")
        click.echo(gettext("{what}, since {time}", what=f"cas        {state}", time=local_time(seen)))
    elif uses_cas:
        why = gettext("No login of this student's has come back yet.")
        state = diagnosis_words.word("states", "not_seen")
        click.echo(f"cas        {state}\n{_INDENT}{gettext('cause: {why}', why=why)}")


def _ending(person: diagnosis_person.PersonStatus) -> Iterator[str]:
    """A student with no enrolment in force: those that ended, the account's future."""
    if person.enrolled or not person.ended:
        return
    cancelled = [each for each in person.ended if each.cancelled]
    over = [each for each in person.ended if not each.cancelled]
    if cancelled:
        yield gettext("cancelled by the registrar: {steps}", steps=_steps(cancelled))
    if over:
        yield gettext("of a year that is over: {steps}", steps=_steps(over))
    day = "" if person.valid_until is None else local_day(person.valid_until)
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


def _steps(ended: list[diagnosis_person.EndedStep]) -> str:
    return ", ".join(f"{account.dated_step(each.year, each.step)}-{each.step_version}" for each in ended)


def _lines(target: diagnosis_person.TargetStatus) -> Iterator[str]:
    state = coloured(
        diagnosis_words.word("states", target.state),
        _COLOURS.get(target.state),
        bold=target.state == "failed",
    )
    line = f"{target.target:<10} {state}"
    if target.since:
        line = gettext("{what}, since {time}", what=line, time=local_time(target.since))
    if target.version:
        line = gettext("{line} (has version {version})", line=line, version=target.version)
    yield line
    if target.cause:
        yield _INDENT + gettext("cause: {why}", why=target.cause)
    if target.message:
        yield _INDENT + gettext("message: {text}", text=target.message)
    if target.pending:
        yield _INDENT + gettext("pending: {names}", names=", ".join(target.pending))
    if target.next:
        yield _INDENT + gettext("next: {step}", step=target.next)


_LIMIT, _LIMIT_MAX = 50, 1000


@click.command()
@click.option("--state", help="completed, waiting, retrying, failed or in_progress.")
@click.option("--cause", help="Who waits, is tried again or was given up for this, as `overview` names it.")
@click.option("--cohort", help="Enrolled in this step of this year, like M2INFO-2026.")
@click.option("--after", metavar="STUDENT", default="", help="Those that follow this number: the next page.")
@click.option(
    "--limit", type=click.IntRange(1, _LIMIT_MAX), default=_LIMIT, show_default=True, help="At most so many."
)
@json_option
@pass_context
def students(
    context: Context,
    *,
    state: str | None,
    cause: str | None,
    cohort: str | None,
    after: str,
    limit: int,
) -> CommandResult:
    """List the activated students in a state, for a cause, or of a cohort, by number."""
    asked = diagnosis_students.StudentsRequest(
        state=state, cause=cause, cohort=cohort, after=after, limit=limit
    )
    page = context.run(diagnosis_students.listed, asked)
    return CommandResult(page, partial(_show_students, page))


def _show_students(page: diagnosis_students.Page) -> None:
    if not page.students:
        remark(gettext("Nobody."))
        return
    rows = [
        (one.student_number, diagnosis_words.word("states", one.state), "; ".join(_targets(one)))
        for one in page.students
    ]
    targets = gettext("targets")
    show_table((gettext("student"), gettext("state"), targets), rows, folded=targets)
    for words in _causes(page.students):
        remark(words)
    if page.next is not None:
        remark(gettext("There are more: add --after {last}", last=page.next))


@click.command()
@json_option
@pass_context
def cohorts(context: Context) -> CommandResult:
    """Count who waits, by cohort and for what, the largest first. `students --cohort` lists them."""
    found = context.run(diagnosis_students.waiting_by_cohort)
    return CommandResult(found, partial(_show_cohorts, found))


def _show_cohorts(found: Sequence[diagnosis_students.CohortWaiting]) -> None:
    if not found:
        remark(gettext("Nobody."))
        return
    rows = [
        (
            one.cohort,
            str(one.students),
            "; ".join(gettext("{name}: {value}", name=reason, value=n) for reason, n in one.reasons.items()),
        )
        for one in found
    ]
    students, why = gettext("students"), gettext("waiting for")
    show_table((gettext("cohort"), students, why), rows, folded=why, right={students})


def _targets(student: diagnosis_students.ListedStudent) -> Iterator[str]:
    """The report on targets that are incomplete or being retried."""
    for name, one in student.targets.items():
        retry = student.retrying.get(name)
        if retry is not None:
            since = local_time(retry.since)
            yield gettext(
                "{target} tried again since {time}: {cause}",
                target=name,
                time=since,
                cause=retry.cause,
            )
        elif one["state"] != "provisioned":
            what, why = f"{name} {diagnosis_words.word('states', one['state'])}", one["reason"]
            yield gettext("{name}: {value}", name=what, value=why) if why else what


def _causes(listed: Sequence[diagnosis_students.ListedStudent]) -> Iterator[str]:
    """Each cause that is named, as `--cause` takes it, with its words."""
    found = {retry.cause for one in listed for retry in one.retrying.values()}
    found |= {target["reason"] for one in listed for target in one.targets.values()} - {None}
    for token in sorted(found):
        yield gettext("{name}: {value}", name=token, value=reasons.explain(token).what)
