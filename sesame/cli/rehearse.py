"""`sesame rehearse`: the coming first Monday, played beforehand."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli import forecast
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option, moment
from sesame.cli.output import CommandResult

with lazily():
    from sesame.app import wiring
    from sesame.operations.work.rehearsal import acts

_OUTAGE: Final = re.compile(r"(?P<target>[^=]+)=(?P<begins>[0-9]+)\+(?P<lasts>[0-9]+)")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
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
    folder: Path,
    students: int | None,
    at: str | None,
    at_once: bool,
    outage: tuple[str, ...],
) -> CommandResult:
    """Write a twin of this site to FOLDER, and say how its first Monday goes.

    The twin has the site's numbers, cohorts, lengths of names, homonyms and last year's curve of arrivals,
    and nobody of it. It is played in simulated time, by what was measured here.
    """
    context.settings  # noqa: B018 (read first: it names the zone)
    request = acts.RehearseRequest(
        folder=folder,
        students=students,
        at=moment("--at", at),
        at_once=at_once,
        outages=tuple(_outage(each) for each in outage),
    )
    found = context.run(acts.rehearse, request, clock=wiring.utc_now)
    return CommandResult(found, partial(_show, found))


def _outage(text: str) -> acts.Outage:
    if (found := _OUTAGE.fullmatch(text)) is None or not int(found["lasts"]):
        raise click.BadParameter(
            gettext("--outage is TARGET=MINUTE+MINUTES, such as mailbox=30+20, not {text!r}", text=text)
        )
    return acts.Outage(
        target=found["target"], begins_s=60 * int(found["begins"]), seconds=60 * int(found["lasts"])
    )


def _show(found: acts.Rehearsal) -> None:
    click.echo(gettext("The twin is in {folder}.", folder=found.folder))
    if found.like is None:
        click.echo(gettext("All come at once."))
    else:
        click.echo(gettext("They come as they did from {time} on.", time=local_time(found.like)))
    forecast.show(found)
