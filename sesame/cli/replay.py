"""`sesame replay` and `sesame replays`: compare students with a target again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import dry_run_option, json_option, moment, reason_option, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table

with lazily():
    from sesame.acts import acts, admission
    from sesame.app import wiring
    from sesame.operations.work import blast_radius
    from sesame.operations.work import replays as work_replays

_SHOWN_MAX = 50
_PER_S = 100  # `sesame.operations.work.replays.PER_S`, tested


@click.command()
@click.option("--consumer", default="", help="A target's name, or registry. Not with --resume.")
@click.option("--student", "students", multiple=True, help="This student number; may be given several times.")
@click.option("--cause", help="Everybody with an unresolved dead letter of this cause, or who waits for it.")
@click.option("--since", help="Only of this time on, e.g. 2026-09-01T08:00 (of the site's time zone).")
@click.option("--until", help="Only of before this time.")
@click.option("--all", "everybody", is_flag=True, help="Everybody who has activated.")
@click.option("--first", type=click.IntRange(min=1), help="Ask for so many now; --resume goes on.")
@click.option(
    "--canary",
    type=click.IntRange(min=1),
    help="Ask for so many now, drawn by lot; --resume goes on with the others.",
)
@click.option("--incident", metavar="NAME", help="What this replay is called, where replays are listed.")
@click.option("--resume", metavar="REPLAY", help="Go on with a replay that was begun, from where it stopped.")
@click.option("--stop", metavar="REPLAY", help="Ask nobody more for a replay; --resume goes on with it.")
@click.option(
    "--per-second",
    "per_s",
    type=click.IntRange(1, 10_000),
    help=f"Pace; {_PER_S} if not given. --resume keeps the one it was begun with.",
)
@reason_option(default="operator")
@dry_run_option
@yes_option
@json_option
@pass_context
def replay(
    context: Context, /, *, resume: str | None, stop: str | None, consumer: str, **given: Any
) -> CommandResult | None:
    """Compare students with the CONSUMER's target and write what differs.

    A replay is harmless: where nothing differs nothing is written. --dry-run reads the target and says what
    would change for whom. --canary 5 asks for five drawn by lot; look at them, then --resume asks for the
    rest. Whoever was replayed in vain before is replayed again after a question, or by --yes. Students and
    causes go in the personal lane; --all and a time in the bulk lane, behind everybody who is waiting.

    With --since or --until: --cause means its dead letters of that time; --all whoever was written to the
    target then (it was restored from a backup, say); neither, both.

    The CONSUMER registry makes accounts again from what it knows, after a change of the settings.
    """
    _check_words(resume=resume, stop=stop, consumer=consumer)
    if stop is not None:
        context.run(work_replays.stop, stop)
        remark(gettext("stopped: nobody more is asked for"))
        return None
    site = context.looking
    if not given["dry_run"]:
        admission.admit(site, works=False)  # before the operator has to answer questions
    if resume is not None:
        return _resume(site, resume, given)
    selected = _select(site, consumer, given)
    numbers = selected.students[: given["first"]]
    if selected.nobody:
        raise click.UsageError(selected.nobody)
    if given["dry_run"]:
        looked = blast_radius.PreviewRequest(
            consumer=consumer, students=numbers, selected=len(selected.students)
        )
        found = blast_radius.preview(site, operator(), looked)
        return CommandResult(found, partial(_show_preview, found))
    if not selected.students:
        raise work_replays.NobodyToReplay
    if given["everybody"] and not given["yes"]:
        confirm(gettext("Compare {n} students with {consumer}?", n=len(numbers), consumer=consumer))
    if selected.failed_before and not given["yes"]:
        confirm(work_replays.failed_before_question(selected.failed_before))
    request = work_replays.ReplayRequest(
        consumer=consumer,
        students=selected.students,
        lane=selected.lane,
        reason=given["reason"],
        first=given["first"],
        canary=given["canary"],
        per_s=given["per_s"],
        incident=given["incident"],
        again=selected.failed_before > 0,
    )
    asked = work_replays.replay(site, operator(), request, wiring.utc_now)
    return CommandResult(asked, partial(_say, asked))


@click.command()
@json_option
@pass_context
def replays(context: Context) -> CommandResult:
    """Show the latest replays, how far each has come, and how those who were asked for ended."""
    known = context.run(work_replays.latest)
    return CommandResult(known, partial(_show, known))


def _show(known: Sequence[work_replays.ReplayProgress]) -> None:
    if not known:
        remark(gettext("No replay was begun yet."))
        return
    names = (
        *(gettext("replay"), gettext("begun"), gettext("consumer"), gettext("actor")),
        *(gettext("students"), gettext("asked"), gettext("done"), gettext("failed")),
    )
    rows = [
        (
            one.replay_id,
            local_time(one.begun_at),
            one.consumer,
            one.actor,
            *map(str, (one.students, one.asked, one.done, one.failed)),
        )
        for one in known
    ]
    show_table(names, rows)


def _check_words(*, resume: str | None, stop: str | None, consumer: str) -> None:
    if stop is not None and (resume is not None or consumer):
        raise click.UsageError(gettext("--stop takes nothing else"))
    if resume is not None and consumer:
        raise click.UsageError(gettext("--resume goes on with a replay: it takes no --consumer"))
    if resume is None and stop is None and not consumer:
        raise click.UsageError(gettext("Missing option '--consumer' (or '--resume')"))


def _select(site: wiring.Application, consumer: str, given: dict[str, Any]) -> work_replays.ReplaySelection:
    times = {name: moment(f"--{name}", given[name]) for name in ("since", "until")}
    whom = {name: given[name] for name in ("students", "cause", "everybody")}
    try:
        selected = work_replays.select(
            site, operator(), work_replays.ReplaySelectionRequest(consumer=consumer, **whom, **times)
        )
    except acts.UnknownTarget as error:
        targets = ", ".join(work_replays.replayable(site))
        raise click.UsageError(gettext("--consumer must be one of {targets}", targets=targets)) from error
    except work_replays.UnclearSelection as error:
        raise click.UsageError(
            gettext(
                "give --student, --cause or --all, and one of them only, or --since or --until; "
                "a --student has no time"
            )
        ) from error
    for number in selected.unknown:
        remark(gettext("{number}: no such account", number=number))
    for number in selected.not_activated:
        text = gettext("{number}: not activated, no target is touched for this student", number=number)
        remark(text)
    return selected


def _show_preview(found: blast_radius.ReplayPreview) -> None:
    count = found.looked_at
    whom = {"n": count, "consumer": found.consumer}
    compared = (
        gettext("{n} students would be compared with {consumer}", **whom)
        if count == found.students
        else gettext(
            "{n} students would be compared with {consumer} (the first {n} of {all})",
            all=found.students,
            **whom,
        )
    )
    click.echo(
        gettext(
            "{compared}: {changed} would be written, {same} are as they should be, {obstacles} meet an "
            "obstacle; {obsolete} dead letters are about a version that a newer one has replaced",
            compared=compared,
            changed=found.changed,
            same=found.same,
            obstacles=sum(found.obstacles.values()),
            obsolete=found.obsolete,
        )
    )
    for name, number in found.differs.items():
        click.echo(gettext("  would be written: {name}: {n}", name=name, n=number))
    for name, number in found.obstacles.items():
        click.echo(gettext("  obstacle: {name}: {n}", name=name, n=number))
    for effect in found.effects[:_SHOWN_MAX]:
        said = ", ".join(effect.differs) or gettext("nothing")
        notes = [gettext("{name}: {value}", name=effect.student_number, value=said)]
        if effect.obstacle:
            notes.append(gettext("but: {cause}", cause=effect.obstacle))
        if effect.obsolete:
            notes.append(gettext("obsolete"))
        click.echo("; ".join(notes))
    if count > _SHOWN_MAX:
        click.echo(gettext("… and {n} more: --json has them all", n=count - _SHOWN_MAX))


def _resume(site: wiring.Application, replay_id: str, given: dict[str, Any]) -> CommandResult:
    """Replay the rest; ask first if some earlier ones ended badly."""
    actor = operator()
    request = work_replays.ResumeReplayRequest(
        replay_id=replay_id, first=given["first"], per_s=given["per_s"]
    )
    before = work_replays.standing(site, actor, request)
    remark(
        gettext(
            "{asked} of {all} were asked for: {done} done, {failed} failed again, {under_way} under way",
            asked=before.asked,
            all=before.students,
            done=before.done,
            failed=before.failed,
            under_way=before.under_way,
        )
    )
    if given["dry_run"]:
        left = before.students - before.asked
        looked = blast_radius.PreviewRequest(consumer=before.consumer, students=before.next, selected=left)
        found = blast_radius.preview(site, actor, looked)
        return CommandResult(found, partial(_show_preview, found))
    if before.failed and not given["yes"]:
        confirm(gettext("{n} failed again. Ask for the others all the same?", n=before.failed))
    asked = work_replays.resume(site, actor, request, wiring.utc_now)
    return CommandResult(asked, partial(_say, asked))


def _say(asked: work_replays.BeginReplayReport) -> None:
    said = {"n": asked.asked_now, "consumer": asked.consumer, "asked": asked.asked, "all": asked.students}
    if asked.asked == asked.students == asked.asked_now:
        text = gettext("{n} students are compared with {consumer} (replay {id})", id=asked.replay_id, **said)
        click.echo(text)
        return
    click.echo(gettext("{n} students are compared with {consumer}: {asked} of {all} so far", **said))
    if asked.asked < asked.students:
        command = f"sesame replay --resume {asked.replay_id}"
        click.echo(gettext("look at them (sesame replays), then: {command}", command=command))
