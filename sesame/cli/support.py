"""`sesame support`: the case that a student's code leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.diagnose import language_option, show
from sesame.cli.operator import operator_name
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
    from sesame.operations.support import Support
    from sesame.web.desk import smtp_of

    app = context.looking
    desk = Support(app)
    case, now = desk.look(code, actor=operator_name())
    if send:
        case = desk.send(code, smtp_of(app.settings))
    if as_json:
        found = {"desk": case.desk.name, "sent": case.sent, "then": case.bundle.model_dump()}
        write_json(found | {"now": now.document(language)})
        return
    click.echo(case.text)
    click.echo("Sent to the desk." if case.sent else "Not sent to the desk.")
    click.echo("\nNow:")
    show(now, language)
