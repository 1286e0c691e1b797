"""`sesame reconcile`: every object of every target against every account."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.app import wiring
    from sesame.operations.people.diagnosis import words
    from sesame.operations.questions.reconcile import acts as reconcile_acts
    from sesame.operations.questions.reconcile import comparison, passes

_SHOWN_MAX = 20


@click.command()
@click.option("--target", "targets", multiple=True, help="This target only; may be given several times.")
@click.option("--sample", type=click.IntRange(min=1), help="So many accounts, drawn by lot, instead of all.")
@click.option("--repair", is_flag=True, help="Have what is missing or different written, in the bulk lane.")
@click.option("--approve", default="", metavar="ID", help="Let a held repair go on: the ID that it told.")
@click.option(
    "--last", is_flag=True, help="Show what the last comparison found and what was noticed since; no new one."
)
@json_option
@pass_context
def reconcile(context: Context, /, *, last: bool, **given: Any) -> CommandResult:
    """Compare every object of the targets with every account.

    Missing: a student who should be there is not. Different: somebody changed what Sésame writes. Moved:
    it is where Sésame may not write, and a hold would not shut it. Password replaced: somebody else set
    or deleted it. Extra: a second object carries a student's number. Orphaned: an object carries the
    number of nobody who has an account. Renamed: a hand changed the name or the key of a cohort. What
    carries no student number is nobody's business here. Who is being provisioned just now, or is known to
    wait or to have failed, is no difference, and counted as unsettled. Each target is compared every
    night by itself; one that tells of changes (OpenLDAP, Active Directory) is asked twice a minute for
    what hands did there, and each whether it went back in time or lost much: pause one that you empty.

    --repair writes through the consumers, as a replay does; extra and orphaned objects are for you to judge.
    A repair that would write to unusually many is held (code 5). Ends with 3 where differences are left.
    """
    if last:
        ended = context.run(reconcile_acts.latest)
        return CommandResult(ended, partial(_show_last, ended))
    request = reconcile_acts.ReconcileRequest(**given)
    found = context.run(
        reconcile_acts.reconcile,
        request,
        clock=wiring.utc_now,
        say=remark,
    )
    held = any(one.approval for one in found.targets.values())
    left = any(one.differs for one in found.targets.values())
    end = ExitCode.HELD if held else ExitCode.PARTLY if left else ExitCode.DONE
    return CommandResult(found, partial(_show, found), end)


def _show_last(ended: list[passes.Pass]) -> None:
    if ended:
        rows = [(*_cells(one.target, one, one.found), local_time(one.ended_at)) for one in ended]
        show_table((*_columns(), gettext("compared")), rows)
        for one in ended:
            _show_target(one.target, one, one.left)
    else:
        remark(gettext("No target was compared yet."))


def _columns() -> tuple[str, ...]:
    kinds = (words.word("differences", kind) for kind in passes.KINDS[:-1])
    return (gettext("target"), gettext("accounts"), gettext("objects"), *kinds, gettext("unsettled"))


def _cells(
    name: str, one: comparison.TargetReport | passes.Pass, found: Mapping[str, int]
) -> tuple[str, ...]:
    counts = (
        one.accounts,
        one.objects,
        *(found[kind] for kind in passes.KINDS[:-1]),
        one.unsettled,
    )
    return (name, *map(str, counts))


def _show(found: reconcile_acts.Reconciliation) -> None:
    show_table(_columns(), [_cells(name, one, one.counts()) for name, one in found.targets.items()])
    for name, one in found.targets.items():
        _show_target(name, one, one.named())
        _show_repair(name, one)


def _show_target(
    name: str, one: comparison.TargetReport | passes.Pass, found: Mapping[str, list[str]]
) -> None:
    if one.trouble:
        click.echo(gettext("{target} was not compared: {why}", target=name, why=one.trouble))
    if found.get("went_back"):
        click.echo(words.word("went_back", one.evidence[name][0]).format(target=name))
    for kind in passes.KINDS[:-1]:
        word, names = words.word("differences", kind), found.get(kind, [])
        for each in names[:_SHOWN_MAX]:
            why = ", ".join(one.evidence.get(each, ()))
            click.echo(f"{name}, {word}: {each}" + (f" ({why})" if why else ""))
        if (more := len(names) - _SHOWN_MAX) > 0:
            click.echo(gettext("{target}: {n} more; all with --json", target=name, n=more))


def _show_repair(name: str, one: comparison.TargetReport) -> None:
    if one.replay_id:
        click.echo(
            gettext("{target}: being repaired, replay {id}: sesame replays", target=name, id=one.replay_id)
        )
    if one.approval:
        command = f"sesame reconcile --target {name} --repair --approve {one.approval}"
        click.echo(
            gettext(
                "{target}: unusually many would be written. If it is right: {command}",
                target=name,
                command=command,
            )
        )
