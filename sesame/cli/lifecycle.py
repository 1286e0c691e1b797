"""`sesame lifecycle`, `sesame entitlements`, `sesame guests`: access, until when."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial

import click

from schemas.language import gettext, local_day, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, reason_option
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.operations.access import entitlements as access_entitlements
    from sesame.operations.access import guests as access_guests
    from sesame.operations.access import lifecycle as access_lifecycle
    from sesame.operations.people.diagnosis import words

_SHOWN_MAX = 20


@click.group()
def lifecycle() -> None:
    """What time will change about accounts, and what the guard over it holds."""


@lifecycle.command(name="preview")
@click.option("--days", type=click.IntRange(1, 3650), default=400, show_default=True, help="How far ahead.")
@click.option("--erase", is_flag=True, help="As if the setting lifecycle.erase were on.")
@click.option("--students", "each", is_flag=True, help="Each student, with the reason and the days.")
@json_option
@pass_context
def preview_command(context: Context, *, days: int, erase: bool, each: bool) -> CommandResult:
    """Say who will be shut or erased, when, why and where, if nobody is enrolled again.

    Days are the first on which it is so. Nothing is written.
    """
    found = context.run(
        access_lifecycle.preview, access_lifecycle.LifecyclePreviewRequest(days=days, erase=erase)
    )
    text = partial(_show_lives, found) if each else partial(_show, found, erase=erase)
    return CommandResult(found.model_dump(mode="json"), text)


@lifecycle.command(name="held")
@json_option
@pass_context
def held_command(context: Context) -> CommandResult:
    """Show what the guard holds, with the ID that releases it. Ends with 5 if it holds anything."""
    plans = context.run(access_lifecycle.held)
    document = [plan.model_dump(mode="json") for plan in plans]
    if not plans:
        return CommandResult(document, lambda: remark(gettext("The guard holds nothing.")))
    return CommandResult(document, partial(_show_plans, plans), ExitCode.HELD)


@lifecycle.command(name="release")
@click.argument("plan")
@json_option
@pass_context
def release_command(context: Context, *, plan: str) -> CommandResult:
    """Let PLAN be carried out: the ID that `sesame lifecycle held` shows, for exactly those students."""
    ended = context.run_creating(access_lifecycle.release, plan)
    text = gettext("Approved; a second operator has to release it too.")
    if ended.released:
        text = ngettext("{n} student: released", "{n} students: released", len(ended.plan.students))
    code = ExitCode.DONE if ended.released else ExitCode.HELD
    return CommandResult(ended.model_dump(mode="json"), partial(click.echo, text), code)


@lifecycle.command(name="prolong")
@click.argument("student")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day of access, like 2027-02-28.")
@click.option("--days", type=click.IntRange(1, 3650), help="By so many days.")
@reason_option()
@json_option
@pass_context
def prolong_command(
    context: Context, *, student: str, until: datetime | None, days: int | None, reason: str
) -> CommandResult:
    """Let STUDENT, who has no enrolment any more, keep access until a later day.

    Whoever has expired already has access back. --days counts from the last day of access, or from today if
    that is past.
    """
    if (until is None) == (days is None):
        raise click.UsageError(gettext("give either --until or --days"))
    last_day = None if until is None else until.date()
    asked = access_lifecycle.ProlongRequest(student_number=student, reason=reason, until=last_day, days=days)
    ended = context.run_creating(access_lifecycle.prolong, asked)
    told = {"number": ended.student_number, "before": local_day(ended.before)}
    text = gettext("{number}: access until {until} instead of {before}", until=local_day(ended.until), **told)
    return CommandResult(ended.model_dump(mode="json"), partial(click.echo, text))


def _show(found: access_lifecycle.LifecyclePreview, *, erase: bool) -> None:
    told = gettext("warned by mail")
    days = [(step.day, _what(step), str(step.students)) for step in found.steps]
    days += [(each.day, told, str(each.students)) for each in found.warnings]
    rows = [
        (local_day(day), what, students) for day, what, students in sorted(days, key=lambda each: each[0])
    ]
    columns = (gettext("from"), gettext("what"), gettext("students"))
    if rows:
        show_table(columns, rows, right=(columns[2],))
    else:
        remark(gettext("Nothing until {day}.", day=local_day(found.until)))
    if not found.erases and not erase:
        remark(gettext("Nothing is erased here (lifecycle.erase); --erase shows what would be."))
    _show_plans(found.held)
    for hold in found.will_hold:
        _show_hold(hold)


def _show_hold(hold: access_lifecycle.ComingHold) -> None:
    told = {"day": local_day(hold.day), "count": hold.students}
    if hold.target:
        said = gettext("From {day} the guard will hold: {target} shut to {count}", target=hold.target, **told)
    elif hold.closing == "erase":
        said = gettext("From {day} the guard will hold: data of {count} erased", **told)
    elif hold.cohort:
        said = gettext(
            "From {day} the guard will hold: the access of {count} of {cohort} shut",
            cohort=hold.cohort,
            **told,
        )
    else:
        said = gettext("From {day} the guard will hold: the access of {count} shut", **told)
    click.echo(said)


def _show_lives(found: access_lifecycle.LifecyclePreview) -> None:
    why = {
        "year_ends": gettext("the academic year ends"),
        "not_enrolled": gettext("no enrolment is in force"),
        "expired": gettext("expired"),
    }
    columns = (gettext("student"), gettext("why"), gettext("from"))
    rows = [
        (
            life.student_number,
            why[life.why],
            ", ".join(f"{local_day(day)} {what}" for day, what in _days(life)),
        )
        for life in found.lives
    ]
    show_table(columns, rows)


def _days(life: access_lifecycle.StudentLife) -> list[tuple[date, str]]:
    warnings = [(day, gettext("warned by mail")) for day in life.warnings]
    return sorted([(step.day, _what(step)) for step in life.steps] + warnings, key=lambda each: each[0])


def _what(step: access_lifecycle.ComingStep) -> str:
    stage = words.word("stages", step.stage)
    return stage if step.target is None else f"{step.target}: {stage}"


def _show_plans(plans: list[access_lifecycle.HeldPlan]) -> None:
    for plan in plans:
        told = {
            "count": len(plan.students),
            "since": local_time(plan.since),
            "some": ", ".join(plan.students[:_SHOWN_MAX]) + (" …" if len(plan.students) > _SHOWN_MAX else ""),
            "plan": plan.id,
        }
        if plan.target:
            said = gettext(
                "Held since {since}: {target} would be shut to {count}: {some}", target=plan.target, **told
            )
        elif plan.closing == "erase":
            said = gettext("Held since {since}: data of {count} would be erased: {some}", **told)
        elif plan.cohort:
            said = gettext(
                "Held since {since}: the access of {count} of {cohort} would be shut: {some}",
                cohort=plan.cohort,
                **told,
            )
        else:
            said = gettext("Held since {since}: the access of {count} would be shut: {some}", **told)
        click.echo(said)
        click.echo(gettext("  to let it happen: sesame lifecycle release {plan}", **told))
        if plan.approved_by:
            click.echo(gettext("  approved by {name}; a second operator has to", name=plan.approved_by))


@click.group()
def entitlements() -> None:
    """Which target is for whom, by the rows of lifecycle.entitlements."""


@entitlements.command(name="explain")
@click.argument("student")
@json_option
@pass_context
def explain_command(context: Context, *, student: str) -> CommandResult:
    """Explain which targets STUDENT has, from when to when, and by which row."""
    found = context.run(access_entitlements.explain, student)
    return CommandResult(found.model_dump(mode="json"), partial(_show_entitlements, found))


@entitlements.command(name="preview")
@click.option("--students", "each", is_flag=True, help="Each student whom the rows would change.")
@json_option
@pass_context
def preview_rows_command(context: Context, *, each: bool) -> CommandResult:
    """Say whom the rows would change today, and why not the others. Nothing is written.

    A change of the settings changes nobody until you replay the registry. What it would shut, the guard
    holds.
    """
    found = context.run(access_entitlements.preview)
    return CommandResult(found.model_dump(mode="json"), partial(_show_rows, found, each=each))


def _show_entitlements(found: access_entitlements.EntitlementsReport) -> None:
    columns = (gettext("target"), gettext("row"), gettext("given"), gettext("from"), gettext("until"))
    rows = [
        (each.target, _row(each.row), _given(each.given), _day(each.opens_on), _day(each.ends_on))
        for each in found.targets
    ]
    click.echo(f"{found.student_number}: {words.word('stages', found.stage)}")
    show_table(columns, rows)
    for each in found.targets:
        for passed in each.passed:
            told = {"target": each.target, "criteria": ", ".join(passed.lacks)}
            said = gettext("{target}: row {row} is for others ({criteria})", row=passed.row, **told)
            remark(said)
        if each.now not in (None, each.given):
            remark(_not_yet(each))


def _not_yet(each: access_entitlements.TargetEntitlement) -> str:
    return gettext(
        "{target}: still {now}, not {given}: not applied yet (sesame replay --consumer registry), or held "
        "(sesame lifecycle held)",
        target=each.target,
        now=_given(each.now or "open"),
        given=_given(each.given),
    )


def _show_rows(found: access_entitlements.EntitlementsPreview, *, each: bool) -> None:
    if not found.rows:
        remark(
            gettext("No row of lifecycle.entitlements names a target of this site, or no account is open.")
        )
        return
    counts = (
        gettext("students"),
        gettext("open"),
        gettext("later"),
        gettext("not given"),
        gettext("changed"),
    )
    rows = [
        (
            row.target,
            _row(row.row),
            *map(str, (row.students, row.open, row.later, row.not_given, row.changed)),
        )
        for row in found.rows
    ]
    show_table((gettext("target"), gettext("row"), *counts), rows, right=counts)
    for one in found.passed:
        told = {"target": one.target, "row": one.row, "criteria": ", ".join(one.lacks), "n": one.students}
        remark(gettext("{target}: row {row} is not for {n} ({criteria})", **told))
    for change in found.changes if each else ():
        day = "" if change.opens_on is None else f" ({_day(change.opens_on)})"
        before, after = _given(change.before), _given(change.after)
        click.echo(f"{change.student_number} {change.target}: {before} → {after}{day}, {_row(change.row)}")
    if found.changes:
        command = 'sesame replay --consumer registry --all --reason "entitlements"'
        remark(gettext("Nothing is changed yet: {command}", command=command))


def _given(given: str) -> str:
    return words.word("given", given)


def _row(row: int | None) -> str:
    return gettext("row {n}", n=row) if row is not None else gettext("everybody")


def _day(day: date | None) -> str:
    return "" if day is None else local_day(day)


@click.group()
def guests() -> None:
    """People invited until a day, each with a sponsor at the university."""


@guests.command(name="invite")
@click.option("--sponsor", required=True, metavar="NUMBER", help="Who answers for the guest.")
@click.option("--birth-name", required=True, help="Family name at birth.")
@click.option("--given-name", required=True, help="First given name.")
@click.option("--born", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Date of birth: 1975-03-12.")
@click.option("--mail", required=True, metavar="ADDRESS", help="Where the guest reads mail already.")
@click.option("--until", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The last day of access.")
@reason_option()
@json_option
@pass_context
def invite_command(
    context: Context,
    *,
    sponsor: str,
    birth_name: str,
    given_name: str,
    born: datetime,
    mail: str,
    until: datetime,
    reason: str,
) -> CommandResult:
    """Invite a guest, who activates as students do, by number and mail address.

    Before the last day the sponsor gets a link that renews the invitation.
    """
    asked = access_guests.InviteRequest(
        sponsor=sponsor,
        birth_name=birth_name,
        given_name=given_name,
        birth_date=born.date(),
        personal_mail=mail,
        until=until.date(),
        reason=reason,
    )
    ended = context.run_creating(access_guests.invite, asked)
    text = gettext("{number}: invited until {day}", number=ended.student_number, day=_day(ended.until))
    return CommandResult(ended.model_dump(mode="json"), partial(click.echo, text))


@guests.command(name="end")
@click.argument("number")
@reason_option()
@json_option
@pass_context
def end_guest_command(context: Context, *, number: str, reason: str) -> CommandResult:
    """Take back the invitation of NUMBER: access ends on the next day at the latest.

    A hold shuts it at once. Afterwards `sesame privacy erase` may erase the guest.
    """
    asked = access_guests.EndInvitationRequest(student_number=number, reason=reason)
    ended = context.run(access_guests.end, asked)
    text = gettext("{number}: the invitation is taken back", number=ended.student_number)
    return CommandResult(ended.model_dump(mode="json"), partial(click.echo, text))


@guests.command(name="list")
@json_option
@pass_context
def guests_command(context: Context) -> CommandResult:
    """Show the guests, those first who leave first. Ends with 5 if a sponsor has left."""
    found = context.run(access_guests.invited)
    code = ExitCode.HELD if any(each.is_left_alone for each in found) else ExitCode.DONE
    return CommandResult([each.model_dump(mode="json") for each in found], partial(_show_guests, found), code)


def _show_guests(found: list[access_guests.GuestReport]) -> None:
    columns = (gettext("number"), gettext("name"), gettext("stage"), gettext("until"), gettext("sponsor"))
    rows = [
        (
            each.student_number,
            each.name or "",
            words.word("stages", each.stage) if each.stage is not None else "",
            _day(each.until),
            gettext("{sponsor} (has left)", sponsor=each.sponsor)
            if each.is_left_alone
            else each.sponsor or "",
        )
        for each in found
    ]
    if not found:
        remark(gettext("There are no guests."))
        return
    show_table(columns, rows)
    if any(each.is_left_alone for each in found):
        remark(
            gettext(
                "Whose sponsor has left goes on until the last day: sesame lifecycle prolong, or let it end."
            )
        )
