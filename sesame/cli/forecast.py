"""`sesame forecast` and `sesame rehearse`: when everybody is done, and when they would be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option, moment
from sesame.cli.output import CommandResult, duration, show_table

with lazily():
    from sesame.app import wiring
    from sesame.operations.work.forecast import acts, report
    from sesame.operations.work.rehearsal import acts as rehearsals

_OUTAGE: Final = re.compile(r"(?P<target>[^=]+)=(?P<begins>[0-9]+)\+(?P<lasts>[0-9]+)")


@click.command()
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The registrar's file to come: the students whom it would change come as well.",
)
@click.option("--profile", metavar="PROFILE", help="With --file: how it is written. Default: the settings'.")
@click.option(
    "--at", help="When the work begins, e.g. 2026-09-01T08:00 (of the site's time zone). Default: now."
)
@json_option
@pass_context
def forecast(context: Context, *, file: Path | None, profile: str | None, at: str | None) -> CommandResult:
    """Say when everybody is done, which target is the brake, and what would help.

    The interval holds the truth in 80 of 100 cases. It is drawn from what was measured while work waited.
    Where that says too little, the cause is told instead.
    """
    if file is None and at is None:
        found = context.run(acts.show)
    else:
        context.settings  # noqa: B018 (read first: it names the zone)
        request = acts.ForecastRequest(file=file, profile=profile, at=moment("--at", at))
        found = context.run(acts.show_coming, request, clock=wiring.utc_now)
    return CommandResult(found, partial(_show, found))


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--students", type=click.IntRange(1, 1_000_000), help="How many come. Default: as many as last year."
)
@click.option("--at", help="When the first one comes. Default: the first Monday of September.")
@click.option("--at-once", is_flag=True, help="All come at once, not as last year.")
@click.option(
    "--outage",
    multiple=True,
    metavar="TARGET=MINUTE+MINUTES",
    help="The target is down from that minute on, for so many. May be repeated.",
)
@json_option
@pass_context
def rehearse(
    context: Context,
    *,
    folder: Path | None,
    students: int | None,
    at: str | None,
    at_once: bool,
    outage: tuple[str, ...],
) -> CommandResult:
    """Write a twin of this site, and say how its first Monday goes.

    The twin has the site's numbers, cohorts, lengths of names, homonyms and last year's curve of arrivals,
    and nobody of it. It is written to FOLDER, or to `rehearsal` in the data folder, and played in simulated
    time, by what was measured here.
    """
    context.settings  # noqa: B018 (read first: it names the zone)
    request = rehearsals.RehearseRequest(
        folder=folder,
        students=students,
        at=moment("--at", at),
        at_once=at_once,
        outages=tuple(_outage(each) for each in outage),
    )
    found = context.run(rehearsals.rehearse, request, clock=wiring.utc_now)
    return CommandResult(found, partial(_show_rehearsal, found))


def _outage(text: str) -> rehearsals.Outage:
    if (found := _OUTAGE.fullmatch(text)) is None or not int(found["lasts"]):
        raise click.BadParameter(
            gettext("--outage is TARGET=MINUTE+MINUTES, such as mailbox=30+20, not {text!r}", text=text)
        )
    return rehearsals.Outage(
        target=found["target"], begins_s=60 * int(found["begins"]), seconds=60 * int(found["lasts"])
    )


def _show_rehearsal(found: rehearsals.Rehearsal) -> None:
    click.echo(gettext("The twin is in {folder}.", folder=found.folder))
    if found.like is None:
        click.echo(gettext("All come at once."))
    else:
        click.echo(gettext("They come as they did from {time} on.", time=local_time(found.like)))
    _show(found)


def _show(found: report.Forecast) -> None:
    click.echo("\n".join(_lines(found)))
    titles = (gettext("target"), gettext("students"), gettext("per second"), gettext("done at"))
    rows = [
        [
            name,
            str(one.students),
            "" if one.rate is None else f"{one.rate:g}",
            local_time(one.done_at) if one.done_at is not None and one.students else one.cause or "",
        ]
        for name, one in found.targets.items()
    ]
    show_table(titles, rows, right=titles[1:3])
    if kept := [one for one in found.promises if one.happened_at is not None]:
        titles = (gettext("forecast of"), gettext("students"), gettext("promised"), gettext("happened"))
        rows = [
            [local_time(one.made_at), str(one.students), local_time(one.done_at), local_time(one.happened_at)]
            for one in kept
            if one.happened_at is not None
        ]
        show_table(titles, rows, right=titles[1:2])


def _lines(found: report.Forecast) -> Iterator[str]:
    if found.done_at is None or found.low is None or found.high is None:
        yield gettext("It cannot be told: {cause}", cause=found.cause)
        return
    if not found.students:
        yield gettext("Nobody is under way.")
        return
    yield ngettext(
        "{n} student is done at about {time} (80 %: {low} to {high}); the brake is {brake}.",
        "{n} students are done at about {time} (80 %: {low} to {high}); the brake is {brake}.",
        found.students,
        time=local_time(found.done_at),
        low=local_time(found.low),
        high=local_time(found.high),
        brake=found.brake,
    )
    if found.longest_wait_s:
        yield gettext("The longest wait: {wait}.", wait=duration(found.longest_wait_s))
    texts = {
        report.ForecastChange.WORKER: gettext("one more worker"),
        report.ForecastChange.WORKERS: gettext("two more workers"),
        report.ForecastChange.BATCH: gettext("batches twice as long"),
        report.ForecastChange.QUOTA: gettext("one more application at the target"),
    }
    for one in found.what_if:
        yield "  " + gettext(
            "{change}: {wait} at best, {time}",
            change=texts[one.change],
            wait=duration(one.longest_wait_s),
            time=local_time(one.done_at),
        )
