"""`sesame doctor`: check that everything Sésame needs is there, and advise."""

from __future__ import annotations

import click

from schemas.language import gettext
from sesame.app.doctor.findings import Check, CheckResult, CheckState, examine
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, wants_json
from sesame.cli.output import CommandResult, coloured

with lazily():
    from sesame.app.doctor import checks as doctor_checks

_COLOURS = {CheckState.OK: "green", CheckState.WARN: "yellow", CheckState.FAIL: "red"}


@click.command()
@json_option
@click.option(
    "--only", "only", metavar="NAME", multiple=True, help="Check this alone; may be given several times."
)
@pass_context
def doctor(context: Context, *, only: tuple[str, ...]) -> CommandResult:
    """Check each dependency: one line each, with the remedy when something is wrong.

    Exit code 4 when a dependency is down, 1 when something else is wrong, 0 when all is well or only
    warned about.
    """
    context.quiet_logs()
    checks = _chosen(doctor_checks.checks_for(context.settings), only)
    found: list[tuple[str, CheckResult]] = []
    for check in checks:
        finding = examine(check)
        found.append((check.name, finding))
        if not wants_json():
            click.echo(_line(check.name, finding))
    document = [{"check": name, **finding.document()} for name, finding in found]
    return CommandResult(document, lambda: None, _verdict([finding for _, finding in found]))


def _chosen(checks: list[Check], only: tuple[str, ...]) -> list[Check]:
    unknown = set(only) - {check.name for check in checks}
    if unknown:
        names = ", ".join(check.name for check in checks)
        wrong = ", ".join(sorted(unknown))
        text = gettext("unknown: {wrong}; the checks are {names}", wrong=wrong, names=names)
        raise click.BadParameter(text)
    return [check for check in checks if not only or check.name in only]


def _line(name: str, finding: CheckResult) -> str:
    state = coloured(f"{finding.state:<5}", _COLOURS[finding.state], bold=finding.state is CheckState.FAIL)
    remedy = f"\n{'':19}{finding.remedy}" if finding.remedy else ""
    return f"{state} {name:<12} {finding.text}{remedy}"


def _verdict(findings: list[CheckResult]) -> ExitCode:
    failed = [finding for finding in findings if finding.state is CheckState.FAIL]
    if any(finding.down for finding in failed):
        return ExitCode.DEPENDENCY_DOWN
    return ExitCode.FAILED if failed else ExitCode.DONE
