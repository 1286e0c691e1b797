"""`sesame provision`: one person, now."""

from __future__ import annotations

import time
from functools import partial

import click

from pipeline.errors import SesameError
from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, wants_json
from sesame.cli.output import CommandResult

with lazily():
    from sesame.acts import acts
    from sesame.operations.access import provisioning
    from sesame.operations.people.diagnosis import words


class NotThere(SesameError):
    """Not every target has this person as it should: the lines above say which, why, and what comes next."""


@click.command()
@click.argument("student")
@click.option("--target", "chosen", multiple=True, help="At this target only; may be given several times.")
@click.option("--explain", is_flag=True, help="Tell each step as it is taken.")
@json_option
@pass_context
def provision(context: Context, *, student: str, chosen: tuple[str, ...], explain: bool) -> CommandResult:
    """Bring STUDENT to the newest version at every target, now, and say how it went.

    This is a consumer's own work, in this command, in the personal lane: it takes the lease, compares, writes
    what differs, reads back, announces and records. It runs beside `sesame run` or without it, and never
    against a lease, a quarantine or the order of the targets. Noted in the audit.
    """
    began = time.monotonic()

    def say(target: str, what: str) -> None:
        if explain:
            told = gettext("{name}: {value}", name=target, value=what)
            click.echo(f"{time.monotonic() - began:6.2f} s  {told}", err=wants_json())

    request = provisioning.ProvisionRequest(student_number=student, targets=chosen)
    try:
        found = context.run(provisioning.provision, request, say)
    except acts.UnknownTarget as error:
        raise click.BadParameter(str(error)) from error
    well = all(each.well for each in found.targets)
    return CommandResult(found, partial(_show, found), ExitCode.DONE if well else NotThere())


def _show(found: provisioning.ProvisionReport) -> None:
    for each in found.targets:
        how = gettext("{name}: {value}", name=words.word("outcomes", each.state), value=each.text)
        click.echo(gettext("{name}: {value}", name=each.target, value=how))
