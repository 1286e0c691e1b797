"""`sesame canary`: a synthetic student on the way of a real one."""

from __future__ import annotations

from functools import partial

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, show_table

with lazily():
    from sesame.operations.work.canary import acts, runs


@click.group()
def canary() -> None:
    """Send a synthetic student the way of a real one."""


@canary.command("run")
@json_option
@pass_context
def run(context: Context) -> CommandResult:
    """Send the canary the whole way once, and say which step fails.

    From the enrolment over the students' pages, the targets, CAS, IMAP and the cohort to its reset. It is in
    no count and no export. Consumers and pages must run. With canary.imap_url it goes every five minutes by
    itself. Ends with 1 where a step failed.
    """
    return _result(context.run(acts.run))


@canary.command("show")
@json_option
@pass_context
def show(context: Context) -> CommandResult:
    """Show how the canary's newest run went. Ends with 1 where a step failed."""
    return _result(context.run(acts.show))


def _result(found: runs.CanaryRun) -> CommandResult:
    return CommandResult(found, partial(_show, found), ExitCode.DONE if found.ok else ExitCode.FAILED)


def _show(found: runs.CanaryRun) -> None:
    titles = (gettext("step"), gettext("seconds"), gettext("how"))
    rows = [(each.name, f"{each.seconds:.1f}", each.cause or "ok") for each in found.steps]
    show_table(titles, rows, right=titles[1:2])
    click.echo(gettext("It ended at {time}.", time=local_time(found.at)))
