"""`sesame provision`: one person, now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited
from sesame.cli.options import json_option
from sesame.cli.output import write_json
from sesame.cli.status import NoSuchStudent

if TYPE_CHECKING:
    from sesame.app.wiring import Application
    from sesame.operations.provisioning import Ended, Say


class NotActivated(SesameError):
    """The student has not activated the account: no target is touched before. `sesame activate` does it for
    them."""


class NotThere(SesameError):
    """Not every target has this person as it should: the lines above say which, why, and what comes next."""


@click.command()
@click.argument("student")
@click.option("--target", "chosen", multiple=True, help="At this target only; may be given several times.")
@click.option("--explain", is_flag=True, help="Tell each step as it is taken.")
@json_option
@pass_context
def provision(
    context: Context, *, student: str, chosen: tuple[str, ...], explain: bool, as_json: bool
) -> None:
    """Bring STUDENT to the newest version at every target, now, and say how it went.

    This is a consumer's own work, in this command, in the personal lane: it takes the lease, compares, writes
    what differs, reads back, announces and records. It runs beside `sesame run` or without it, and never
    against a lease, a quarantine or the order of the targets. Noted in the audit.
    """
    app = context.looking
    for name in chosen:
        if name not in app.settings.targets:
            raise click.BadParameter(f"{name!r} is none of {', '.join(app.settings.targets)}")
    from sesame.operations.restored.admission import admit

    admit(app, works=False)
    audited(app.database, "provision", student_number=student, targets=list(chosen or app.settings.targets))
    began = time.monotonic()

    def say(target: str, what: str) -> None:
        if explain:
            click.echo(f"{time.monotonic() - began:6.2f} s  {target}: {what}", err=as_json)

    version, ended = _provision(app, student, chosen, say)
    if as_json:
        write_json(
            {
                "student_number": student,
                "version": version,
                "seconds": round(time.monotonic() - began, 3),
                "targets": [{"target": e.target, "state": e.state, "text": e.text} for e in ended],
            }
        )
    else:
        for each in ended:
            click.echo(f"{each.target}: {each.state}: {each.text}")
    if not all(each.well for each in ended):
        raise NotThere


def _provision(app: Application, student: str, chosen: tuple[str, ...], say: Say) -> tuple[int, list[Ended]]:
    """The account's version, and how it ended at each target, in the targets' order."""
    from sesame.operations.provisioning import Provisioning

    provisioning = Provisioning(app.database, say)
    account = provisioning.account(student)
    if account is None:
        raise NoSuchStudent(f"no account for student number {student!r}")
    if account.activated_at is None:
        raise NotActivated(f"{student} has not activated")
    access = "open" if account.access_open else "shut"
    say("account", f"version {account.version}, {account.stage}, access {access}")
    ended = []
    for target in app.settings.targets:
        if chosen and target not in chosen:
            continue
        handler = app.handler(target)
        try:
            ended.append(provisioning.at(student, handler, app.effects(target, handler)))
        finally:
            handler.close()
    return account.version, ended
