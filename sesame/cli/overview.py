"""`sesame overview`: all accounts at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import click

from schemas.language import gettext, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, show_table

with lazily():
    from sesame.operations.people.diagnosis import overview as diagnosis_overview
    from sesame.operations.people.diagnosis import reasons
    from sesame.operations.people.diagnosis import words as diagnosis_words

_COUNTS = ("provisioned", "waiting", "failed", "after", "outstanding")
_SECONDS = ("p50", "p95", "p99", "max")


@click.command()
@json_option
@click.option("--students", "with_people", is_flag=True, help="With --json: list every activated student.")
@pass_context
def overview(context: Context, *, with_people: bool) -> CommandResult:
    """Show how many activated accounts are complete, waiting, failed or under way, and how long it took."""
    found = context.run(diagnosis_overview.show_people if with_people else diagnosis_overview.show)
    return CommandResult(found, partial(_show, found, context.settings.targets))


def _show(found: diagnosis_overview.Overview, targets: Iterable[str]) -> None:
    click.echo("\n".join(_lines(found)))
    titles = {name: diagnosis_words.word("states", name) for name in _COUNTS}
    numbers = (*titles.values(), *_SECONDS)
    rows = [_row(found, name) for name in (*targets, "all")]
    show_table((gettext("target"), gettext("state"), *numbers), rows, right=numbers)


def _lines(found: diagnosis_overview.Overview) -> Iterator[str]:
    yield gettext(
        "{students} activated: {completed} complete, {waiting} waiting, {in_progress} in progress, "
        "{failed} failed; {dead_letters} dead letters",
        students=found.students,
        completed=found.completed,
        waiting=found.waiting,
        in_progress=found.in_progress,
        failed=found.failed,
        dead_letters=found.dead_letters,
    )
    yield from _causes(found)
    yield from _stops(found)
    yield gettext(
        "inside 15 min: {first}, inside 60 min: {second}, beyond: {beyond}",
        first=found.within_15_min,
        second=found.within_60_min,
        beyond=found.beyond,
    )
    yield from _observed(found)


def _causes(found: diagnosis_overview.Overview) -> Iterator[str]:
    """Why students wait, why work failed or is retried, and what each cause means."""
    for name, count in found.waiting_by_reason.items():
        yield "  " + gettext("waiting: {name}: {count}", name=name, count=count)
        yield _meaning(name)
    for name, count in found.dead_letters_by_cause.items():
        yield "  " + gettext("dead letter: {name}: {count}", name=name, count=count)
        yield _meaning(name)
    for name, count in found.for_operator.items():
        yield "  " + gettext("an operator must act: {name}: {count}", name=name, count=count)
    if found.for_operator:
        yield "  " + gettext("who they are: sesame students --cause CAUSE")
    for name, one in found.retrying.items():
        students = int(one["students"])
        oldest = f"{one['oldest_s']:.0f}"
        yield "  " + ngettext(
            "tried again: {name}: {n} student, the first for {seconds} s",
            "tried again: {name}: {n} students, the first for {seconds} s",
            students,
            name=name,
            seconds=oldest,
        )
        yield _meaning(name)


def _meaning(name: str) -> str:
    """The meaning of a reason or cause, below its line; may follow a consumer's name."""
    return "    " + reasons.explain(name.rpartition(" ")[2]).what


def _stops(found: diagnosis_overview.Overview) -> Iterator[str]:
    """Each consumer that runs nowhere, and each process without it, with the reason."""
    for name, consumer in found.consumers.items():
        if not consumer["processes"]:
            state = diagnosis_words.word("states", consumer["state"])
            yield "  " + gettext(
                "{name} is {state}: {reason}", name=name, state=state, reason=consumer["reason"]
            )
        for process in consumer["processes"]:
            words = process["words"]
            if process["silent"]:
                yield "  " + gettext("{name} is {state}", name=name, state=words)
            elif process["state"] != "running":
                yield "  " + gettext(
                    "{name} is {state}: {reason}", name=name, state=words, reason=process["reason"]
                )


def _observed(found: diagnosis_overview.Overview) -> Iterator[str]:
    """Writes withheld from targets in observation."""
    for target, one in found.observed.items():
        yield gettext(
            "{target}: {students} students only observed, {changed} of them would be written",
            target=target,
            students=one["students"],
            changed=one["students"] - one["unchanged"],
        )
        for name, students in sorted(one["fields"].items(), key=lambda item: (-item[1], item[0])):
            yield "  " + gettext("would write: {name}: {students}", name=name, students=students)
        for number, names in one["examples"].items():
            yield "  " + gettext("for instance {number}: {names}", number=number, names=", ".join(names))


def _row(found: diagnosis_overview.Overview, name: str) -> list[str]:
    counts, seconds = found.targets.get(name, {}), found.seconds.get(name, {})
    return [
        gettext("all") if name == "all" else name,
        diagnosis_words.word("states", found.consumers.get(name, {}).get("state", "")),
        *(str(counts.get(state, 0)) if counts else "" for state in _COUNTS),
        *(f"{seconds[q]:.2f} s" if q in seconds else "" for q in _SECONDS),
    ]
