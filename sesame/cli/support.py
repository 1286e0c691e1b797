"""`sesame support`: the case that a student's code leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.diagnose import language_option, show
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import write_json

if TYPE_CHECKING:
    from sesame.operations.diagnosis.rules.base import Language


@click.command()
@click.argument("code")
@json_option
@language_option
@click.option("--send", is_flag=True, help="Also send the case to its desk by mail, if that was not done.")
@pass_context
def support(context: Context, *, code: str, as_json: bool, language: Language, send: bool) -> None:
    """Show the case of CODE, which a student reads out: as it was found then, and what is found now.

    The servers are asked again; nothing is changed. Looking is audited.
    """
    from sesame.operations.support import cases
    from sesame.web.desk import smtp_of

    site, asked = context.looking, cases.CaseAsked(code=code, language=language)
    if send:
        found = cases.send(site, operator(), asked, post=smtp_of(site.settings))
    else:
        found = cases.look(site, operator(), asked)
    if as_json:
        write_json(found.model_dump())
        return
    click.echo(found.text)
    click.echo("Sent to the desk." if found.sent else "Not sent to the desk.")
    click.echo("\nNow:")
    show(found.now)
