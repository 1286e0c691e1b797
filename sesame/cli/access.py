"""`sesame access`: a link by which a student's page may be looked at once, for the support desk."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import operator


@click.command()
@click.argument("student", metavar="STUDENT")
@pass_context
def access(context: Context, student: str) -> None:
    """Print a link by which STUDENT sees where the account stands.

    It works once, within 15 minutes, in one browser, and then shows the page for 15 minutes more. Nothing can
    be changed through it. Whoever follows it sees the page: give it to the student alone. It is noted in the
    audit.
    """
    from sesame.operations.access import AccessRequest, NoAccount
    from sesame.operations.access import access as link_to

    try:
        made = link_to(context.application, operator(), AccessRequest(student_number=student))
    except NoAccount as error:
        raise click.UsageError(str(error)) from error
    click.echo(made.link)
