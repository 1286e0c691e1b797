"""`sesame connector`: list connectors, write a new one, run the suite on one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from schemas.language import gettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.operations.targets.connectors import acts as connectors_acts


@click.group()
def connector() -> None:
    """Show, write or check connectors: what brings a target to accounts' state."""


@connector.command("list")
@json_option
@pass_context
def list_command(context: Context) -> CommandResult:
    """Show every connector that is installed, what it can do, and what was proven of it here."""
    found = context.run_creating(connectors_acts.list_connectors, proven=context.has_store)
    return CommandResult([each.model_dump(mode="json") for each in found], partial(_show, found))


@connector.command()
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write it; without it: a folder sesame-NAME here.",
)
@pass_context
def new(context: Context, name: str, folder: Path | None) -> None:
    """Write a connector and its test, which pass at once: replace what is the sample's by what is your
    target's."""
    from pydantic import ValidationError

    try:
        request = connectors_acts.NewConnectorRequest(name=name, folder=folder or Path(f"sesame-{name}"))
    except ValidationError:
        raise click.BadParameter(
            gettext(
                "{name!r} must begin with a letter, and have lower-case letters, digits and _ only", name=name
            )
        ) from None
    written = connectors_acts.new(context, operator(), request)
    for path in written.files:
        click.echo(path)
    where = written.files[0].parent
    remark(
        gettext(
            "Its suite: python -m pytest {where}. Install it beside Sésame: pip install -e {where}.",
            where=where,
        )
    )


@connector.command()
@click.argument("name")
@click.option("--clean", is_flag=True, help="Only erase what earlier checks have left.")
@json_option
@pass_context
def check(context: Context, name: str, *, clean: bool) -> CommandResult:
    """Run the suite on a configured target, with accounts of its own. Exit code 1 when a check is not
    passed, or something of the suite's is left."""
    report = context.run_creating(
        connectors_acts.check,
        connectors_acts.ConnectorCheckRequest(name=name, config=context.config, clean=clean),
    )
    code = ExitCode.FAILED if report.failed or report.left else ExitCode.DONE
    return CommandResult(report.model_dump(mode="json"), partial(_show_checked, name, report), code)


def _show(found: list[connectors_acts.ConnectorLine]) -> None:
    rows = [
        (
            each.name,
            each.package,
            f"{each.level or ''} {each.on or ''}".strip(),
            each.follows or "",
            ", ".join(each.verbs),
            each.fault
            or (gettext("{n} checks", n=len(each.proven)) if each.proven else gettext("nothing here")),
        )
        for each in found
    ]
    columns = [
        gettext("name"),
        gettext("package"),
        gettext("level"),
        gettext("follows"),
        gettext("verbs"),
        gettext("proven"),
    ]
    show_table(columns, rows, folded=columns[-1])


def _show_checked(name: str, report: connectors_acts.ConnectorCheckReport) -> None:
    for failed in report.failed:
        what = gettext("FAILED {check}", check=_sentence(failed.check))
        click.echo(f"{what}\n  {failed.message}")
    for skipped in report.skipped:
        check = _sentence(skipped.check)
        click.echo(gettext("skipped {check}: {reason}", check=check, reason=skipped.reason))
    counts = {"n": report.passed, "failed": len(report.failed), "skipped": len(report.skipped)}
    click.echo(gettext("{n} passed, {failed} failed, {skipped} skipped", **counts))
    for left in report.left:
        click.echo(gettext("left: {what}", what=left))
    if report.left:
        remark(gettext("Erase it: sesame connector check {name} --clean", name=name))


def _sentence(check: str) -> str:
    return check.replace("_", " ")
