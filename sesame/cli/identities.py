"""`sesame identities` and `ledger`: possible duplicates, and names given for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli import identity_words as words
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import json_option, moment, reason_option, yes_option
from sesame.cli.output import (
    CommandResult,
    confirm,
    remark,
    show_table,
)
from sesame.cli.settlement import settle_command

with lazily():
    from sesame.acts import acts
    from sesame.app import wiring
    from sesame.operations.identities import acts as identities_acts
    from sesame.operations.identities import addresses, minting, name_reservation
    from sesame.operations.keeping import spreadsheet

Said = TypeVar("Said", bound="identities_acts.DoubtDecisionRequest")


@click.group()
def identities() -> None:
    """Numbers that may be one person or may have changed hands, and logins from damaged names."""


@identities.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those too that are decided or withdrawn.")
@json_option
@pass_context
def list_command(context: Context, *, everything: bool) -> CommandResult:
    """List the doubts that wait for somebody, oldest first. Numbers only, no names."""
    found = context.run(identities_acts.listed, identities_acts.DoubtsRequest(everything=everything))
    return CommandResult(found, partial(_show_doubts, found))


def _show_doubts(found: list[identities_acts.DoubtSummary]) -> None:
    if not found:
        remark(gettext("No doubtful identities."))
        return
    shown = [
        (
            one.student_number,
            one.other or gettext("(itself)"),
            words.evidence(one.evidence),
            words.state(one.state),
            local_time(one.raised_at),
        )
        for one in found
    ]
    columns = gettext("student"), gettext("other"), gettext("why"), gettext("state"), gettext("since")
    show_table(columns, shown)


@identities.command(name="show")
@click.argument("student")
@json_option
@pass_context
def show_command(context: Context, *, student: str) -> CommandResult:
    """Show both sides of every doubt about STUDENT, with personal data. The look is audited."""
    found = context.run(identities_acts.show, student)
    return CommandResult(found, lambda: list(map(_print_case, found)))


@identities.command(name="separate")
@click.argument("student")
@click.argument("other", required=False)
@click.option("--holder", is_flag=True, help="The doubt is about who holds STUDENT's number.")
@reason_option()
@yes_option
@pass_context
def separate_command(
    context: Context, *, student: str, other: str | None, holder: bool, reason: str, yes: bool
) -> None:
    """Say that STUDENT and OTHER are two people: each has an account, and nobody is asked again.

    Without OTHER: of the one doubt about STUDENT. If the doubt is about the number's holder, they are two
    people, and the newcomer is refused: the registrar gives them another number.
    """
    request = identities_acts.DoubtDecisionRequest(
        student_number=student, other=other, holder=holder, reason=reason
    )
    _decide(context, identities_acts.separate, request, yes=yes)


@identities.command(name="merge")
@click.argument("student")
@click.argument("other", required=False)
@click.option("--keep", help="The number whose account goes on; if unset, the one that has an account.")
@click.option("--holder", is_flag=True, help="The doubt is about who holds STUDENT's number.")
@reason_option()
@yes_option
@pass_context
def merge_command(
    context: Context,
    *,
    student: str,
    other: str | None,
    keep: str | None,
    holder: bool,
    reason: str,
    yes: bool,
) -> None:
    """Say that STUDENT and OTHER are one person: one account goes on, with the enrolments of both.

    An account of the other number ends in grace; its login is never given to anybody else. Without OTHER: of
    the one doubt about STUDENT. If the doubt is about the number's holder, it is still the same person.
    """
    request = identities_acts.Merge(
        student_number=student, other=other, holder=holder, keep=keep, reason=reason
    )
    _decide(context, identities_acts.merge, request, yes=yes)


@identities.command(name="mint-again")
@click.argument("student")
@reason_option()
@yes_option
@pass_context
def mint_again_command(context: Context, *, student: str, reason: str, yes: bool) -> None:
    """Give STUDENT's account new names: those that it has were minted from damaged ones.

    Login and mail address are made of the names as they are now. Only while nobody has activated the account;
    what it had is never given to anybody else.
    """
    request = identities_acts.DoubtDecisionRequest(student_number=student, reason=reason)
    _decide(context, minting.mint_again, request, yes=yes)


def _decide(
    context: Context,
    decide: Callable[[wiring.Application, acts.Actor, Said], identities_acts.Decided],
    request: Said,
    *,
    yes: bool,
) -> None:
    """Confirm the consequences of a decision, and publish it."""
    site, actor = context.looking, operator()
    if not yes:
        would = decide(site, actor, request.model_copy(update={"dry_run": True}))
        confirm(gettext("{text}. Is that right?", text=would.text))
        asked = {"student_number": would.student_number, "other": would.other, "keep": would.other}
        request = request.model_copy(update=asked | {"holder": would.other is None})
    click.echo(gettext("decided: {text}", text=decide(site, actor, request).text))


def _print_case(case: identities_acts.IdentityCase) -> None:
    click.echo(
        gettext(
            "{why}: {state}, since {time}",
            why=words.evidence(case.evidence),
            state=words.state(case.state),
            time=local_time(case.raised_at),
        )
    )
    if case.other is None:
        columns = gettext("until now"), gettext("said to be")
    else:
        columns = case.other, case.student_number
    show_table(("", *columns, ""), list(words.compared(case.before, case.after)))
    if case.other is not None or case.state == "open":  # a holder is decided about once
        click.echo(_next(case), err=True)


def _next(case: identities_acts.IdentityCase) -> str:
    names, text = f"{case.student_number} {case.other or '--holder'}", gettext("TEXT")
    return (
        f"sesame identities merge {names} --reason {text}\nsesame identities separate {names} --reason {text}"
    )


identities.add_command(settle_command)


@click.group()
def ledger() -> None:
    """The ledger of logins, mail addresses and principal names: nobody is ever given another's."""


@ledger.command(name="refresh")
@json_option
@pass_context
def refresh_command(context: Context) -> CommandResult:
    """Put the directory's names into the ledger: those of staff and of everybody else are not given away.

    `sesame run` does this at its start and every hour. Nothing is changed in the directory. Exit code 3 when
    an entry has a name that the ledger knows as somebody else's.
    """
    found = context.run_creating(name_reservation.refresh)
    return CommandResult(
        found, partial(_show_reserved, found), ExitCode.PARTLY if found.conflicts else ExitCode.DONE
    )


@ledger.command(name="addresses")
@click.option("--since", help="Whose mailbox was written since this time, e.g. 2026-09-01T08:00.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write this file, with mode 0600. Without it: to standard output.",
)
@json_option
@pass_context
def addresses_command(context: Context, *, since: str | None, output: Path | None) -> CommandResult:
    """Write a CSV of the addresses of all who have a mailbox.

    Noted in the audit.
    """
    context.settings  # noqa: B018 (read first: it names the zone)
    found = context.run(addresses.addresses, addresses.AddressesRequest(since=moment("--since", since)))
    return CommandResult(found, partial(_show_addresses, found, output))


def _show_addresses(found: Sequence[addresses.WrittenAddress], output: Path | None) -> None:
    rows = ((one.student_number, one.mail, one.at.isoformat()) for one in found)
    text = "".join(map(spreadsheet.line, (("student_number", "mail", "at"), *rows)))
    if output is None:
        click.echo(text, nl=False)
        return
    output.touch(mode=0o600)
    output.chmod(0o600)  # it may have been there
    output.write_text(text, encoding="utf-8", newline="")


def _show_reserved(found: name_reservation.Reserved) -> None:
    click.echo(
        gettext(
            "{entries} entries with {names} names, {conflicts} in conflict",
            entries=found.entries,
            names=found.names,
            conflicts=len(found.conflicts),
        )
    )
    for dn in found.conflicts:
        remark(gettext("  held by somebody else in the ledger: {dn}", dn=dn))
