"""`sesame access`: a link by which a student's page may be looked at once, for the support desk."""

from __future__ import annotations

import click

from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited


@click.command()
@click.argument("student", metavar="STUDENT")
@pass_context
def access(context: Context, student: str) -> None:
    """Print a link by which STUDENT sees where the account stands.

    It works once, within 15 minutes, in one browser, and then shows the page for 15 minutes more. Nothing can
    be changed through it. Whoever follows it sees the page: give it to the student alone. It is noted in the
    audit.
    """
    from pipeline import accounts

    app = context.application
    with app.database.read() as connection:
        if student not in accounts.newest(connection, [student]):
            raise click.UsageError(f"{student} has no account")
    audited(app.database, "access", student_number=student)
    click.echo(app.portal().access_link(student))
