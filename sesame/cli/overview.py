"""`sesame overview`: everybody, in one look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import data_console, show_table, write_json

if TYPE_CHECKING:
    from sesame.operations.diagnosis.overview import Overview

_COUNTS = ("provisioned", "waiting", "failed", "after", "outstanding")
_SECONDS = ("p50", "p95", "p99", "max")


@click.command()
@json_option
@click.option("--students", "with_people", is_flag=True, help="With --json: list every activated student.")
@pass_context
def overview(context: Context, *, as_json: bool, with_people: bool) -> None:
    """Show how many activated accounts are complete, waiting, failed or under way, and how long it took."""
    from sesame.operations.diagnosis.overview import show, show_people

    site = context.looking
    found = (show_people if with_people else show)(site, operator())
    if as_json:
        write_json(found.model_dump())
        return
    console = data_console()
    console.print(
        f"{found.students} activated: {found.completed} complete, {found.waiting} waiting, "
        f"{found.in_progress} in progress, {found.failed} failed; {found.dead_letters} dead letters"
    )
    for title, counts in (("waiting", found.waiting_by_reason), ("dead letter", found.dead_letters_by_cause)):
        for name, count in counts.items():
            console.print(f"  {title}: {name}: {count}")
    for name, count in found.for_operator.items():
        console.print(f"  an operator must act: {name}: {count}")
    if found.for_operator:
        console.print("  who they are: sesame students --cause CAUSE")
    for name, one in found.retrying.items():
        console.print(
            f"  tried again: {name}: {one['students']} students, the first for {one['oldest_s']:.0f} s"
        )
    for line in _stops(found):
        console.print(line)
    console.print(
        f"inside 15 min: {found.within_15_min}, inside 60 min: {found.within_60_min}, beyond: {found.beyond}"
    )
    for line in _observed(found):
        console.print(line)
    numbers = (*_COUNTS, *_SECONDS)
    rows = [_row(found, name) for name in (*site.settings.targets, "all")]
    show_table(("target", "state", *numbers), rows, right=numbers)


def _stops(found: Overview) -> Iterator[str]:
    """Each consumer that runs nowhere, and each process in which one does not run, with the reason."""
    for name, consumer in found.consumers.items():
        if not consumer["processes"]:
            yield f"  {name} is {consumer['state']}: {consumer['reason']}"
        for process in consumer["processes"]:
            if process["silent"]:
                yield f"  {name} is {process['words']}"
            elif process["state"] != "running":
                yield f"  {name} is {process['words']}: {process['reason']}"


def _observed(found: Overview) -> Iterator[str]:
    """What would be written where Sésame only observes."""
    for target, one in found.observed.items():
        changed = one["students"] - one["unchanged"]
        yield f"{target}: {one['students']} students only observed, {changed} of them would be written"
        fields = sorted(one["fields"].items(), key=lambda item: (-item[1], item[0]))
        yield from (f"  would write: {name}: {students}" for name, students in fields)
        yield from (
            f"  for instance {number}: {', '.join(names)}" for number, names in one["examples"].items()
        )


def _row(found: Overview, name: str) -> list[str]:
    counts, seconds = found.targets.get(name, {}), found.seconds.get(name, {})
    return [
        name,
        found.consumers.get(name, {}).get("state", ""),
        *(str(counts.get(state, 0)) if counts else "" for state in _COUNTS),
        *(f"{seconds[q]:.2f} s" if q in seconds else "" for q in _SECONDS),
    ]
