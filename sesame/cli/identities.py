"""`sesame identities`: who may be whom; an operator looks, and decides once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import SesameError
from sesame.cli.context import Context, pass_context
from sesame.cli.operator import audited, operator_name, reason_option
from sesame.cli.options import json_option, yes_option
from sesame.cli.output import data_console, show_table, side_console, write_json

if TYPE_CHECKING:
    from sesame.app.wiring import Application
    from sesame.operations.identities import Case, Side

_EVIDENCE = {
    "birth": "same names and birth date",
    "ine": "same INE",
    "holder": "another holder",
    "operator": "an operator's word",
}

_TELLING = frozenset({"birth name", "usage name", "given name", "preferred given name", "birth date", "ine"})
"""What tells one person from another."""


class NoSuchDoubt(SesameError):
    """No doubt has to do with this student number. `sesame identities list` shows the open ones."""


class WhichDoubt(SesameError):
    """Several doubts have to do with this student number: name the other number too, or `--holder` for the
    doubt about who holds it."""

    exit_code = 2


class WhichNumber(SesameError):
    """Nobody can tell which of the two numbers should go on: say it with `--keep`."""

    exit_code = 2


@click.group()
def identities() -> None:
    """Numbers that may be one person or may have changed hands, and logins from damaged names."""


@identities.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those too that are decided or withdrawn.")
@json_option
@pass_context
def list_command(context: Context, *, everything: bool, as_json: bool) -> None:
    """List the doubts that wait for somebody, oldest first. Numbers only, no names."""
    from consumers.registry.identity_doubts import Verdict
    from sesame.operations.identities import listed

    found = listed(context.looking.database, tuple(Verdict) if everything else [Verdict.OPEN])
    rows = [
        (each.student_number, each.other_number, each.evidence, each.state.value, each.raised_at)
        for each in found
    ]
    if as_json:
        names = ("student_number", "other", "evidence", "state")
        write_json([dict(zip(names, row, strict=False)) | {"raised_at": _moment(row[4])} for row in rows])
        return
    if not rows:
        click.echo("No doubtful identities.", err=True)
        return
    shown = [
        (number, other or "(itself)", _why(evidence), state, _time(raised_at))
        for number, other, evidence, state, raised_at in rows
    ]
    show_table(dict.fromkeys(("student", "other", "why", "state", "since"), "left"), shown)


@identities.command()
@click.argument("student")
@json_option
@pass_context
def show(context: Context, *, student: str, as_json: bool) -> None:
    """Show both sides of every doubt about STUDENT, with personal data. The look is audited."""
    from sesame.operations.identities import cases

    database = context.looking.database
    found = cases(database, student)
    if not found:
        raise NoSuchDoubt(f"nothing is in doubt about {student!r}")
    audited(database, "identity.show", student_number=student)
    if as_json:
        write_json([case.document() for case in found])
        return
    for case in found:
        _print_case(case)


@identities.command()
@click.argument("student")
@click.argument("other", required=False)
@click.option("--holder", is_flag=True, help="The doubt is about who holds STUDENT's number.")
@reason_option()
@yes_option
@pass_context
def separate(
    context: Context, *, student: str, other: str | None, holder: bool, reason: str, yes: bool
) -> None:
    """Say that STUDENT and OTHER are two people: each has an account, and nobody is asked again.

    Without OTHER: of the one doubt about STUDENT. If the doubt is about the number's holder, they are two
    people, and the newcomer is refused: the registrar gives them another number.
    """
    from schemas.events import IdentityDecision

    number, second = _which(context.looking, student, other, holder=holder)
    words = f"{number} and {second} are two people" if second else f"{number} stays with its first holder"
    _decide(context.looking, number, second, IdentityDecision.SEPARATE, reason, words, yes=yes)


@identities.command()
@click.argument("student")
@click.argument("other", required=False)
@click.option("--keep", help="The number whose account goes on; if unset, the one that has an account.")
@click.option("--holder", is_flag=True, help="The doubt is about who holds STUDENT's number.")
@reason_option()
@yes_option
@pass_context
def merge(
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
    from schemas.events import IdentityDecision

    app = context.looking
    number, second = _which(app, student, other, holder=holder)
    if second is None:
        words = f"{number} is still the same person, under other names"
    else:
        kept = _kept(app, number, second, keep)
        number, second = (second, kept) if kept == number else (number, kept)
        words = f"{number} and {second} are one person, who goes on as {second}"
    _decide(app, number, second, IdentityDecision.MERGE, reason, words, yes=yes)


@identities.command(name="mint-again")
@click.argument("student")
@reason_option()
@yes_option
@pass_context
def mint_again(context: Context, *, student: str, reason: str, yes: bool) -> None:
    """Give STUDENT's account new names: those that it has were minted from damaged ones.

    Login and mail address are made of the names as they are now. Only while nobody has activated the account;
    what it had is never given to anybody else.
    """
    from schemas.events import IdentityDecision
    from sesame.operations.identities import minting

    app = context.looking
    found = minting(app.database, student, app.settings.registry)
    words = (
        f"{student}: {found.login} and {found.mail} are put out of use for ever; "
        f"{found.new_login} and {found.new_mail} come instead (or the like, if somebody has them)"
    )
    _decide(app, student, None, IdentityDecision.MINT_AGAIN, reason, words, yes=yes)


def _which(app: Application, student: str, other: str | None, *, holder: bool) -> tuple[str, str | None]:
    """The two numbers of the doubt; None for the second: the holder's."""
    from consumers.registry.identity_doubts import Verdict
    from sesame.operations.identities import cases, known

    if other is not None and holder:
        raise WhichDoubt("a doubt about a holder has one number only")
    if other is not None:
        for number in (student, other):
            if known(app.database, number) is None:
                raise NoSuchDoubt(f"the registry knows no student number {number!r}")
        return student, other
    open_ones = [case.doubt for case in cases(app.database, student) if case.doubt.state is Verdict.OPEN]
    open_ones = [doubt for doubt in open_ones if not holder or doubt.other_number is None]
    seconds = {doubt.beside(student) if doubt.other_number else None for doubt in open_ones}
    if not seconds:
        raise NoSuchDoubt(f"no doubt about {student!r} waits for anybody")
    if len(seconds) > 1:
        names = ", ".join(sorted(second or "its holder" for second in seconds))
        raise WhichDoubt(f"{student!r} may be: {names}")
    return student, seconds.pop()


def _kept(app: Application, number: str, other: str, keep: str | None) -> str:
    """The number that goes on: the one that was said, or the only one with an account."""
    from sesame.operations.identities import known

    if keep is not None and keep not in (number, other):
        raise WhichNumber(f"{keep!r} is neither of the two")
    if keep is not None:
        return keep
    sides = [known(app.database, each) for each in (number, other)]
    with_account = [side.student_number for side in sides if side is not None and side.login is not None]
    if len(with_account) != 1:
        raise WhichNumber("both numbers have an account" if with_account else "neither number has an account")
    return with_account[0]


def _decide(
    app: Application, number: str, other: str | None, decision: Any, reason: str, words: str, *, yes: bool
) -> None:
    from producers.identities import DecisionRequest, decide
    from sesame.app.wiring import utc_now

    if not yes:
        click.confirm(f"{words}. Is that right?", abort=True, err=True)
    made = DecisionRequest(number, other, decision, reason, operator_name(), utc_now())
    decide(made, database=app.database, producer=app.producer)
    click.echo(f"decided: {words}")


def _print_case(case: Case) -> None:
    from rich.table import Table

    doubt = case.doubt
    console = data_console()
    console.print(f"{_why(doubt.evidence)}: {doubt.state.value}, since {_time(doubt.raised_at)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    pair = (doubt.other_number, doubt.student_number)
    for column in ("", *(("until now", "said to be") if doubt.other_number is None else pair), ""):
        table.add_column(column or "")
    before, after = _lines(case.before), _lines(case.after)
    for name, value in before.items():
        told = after.get(name, "")
        differs = name in _TELLING and value != told
        table.add_row(name, value, told, "differs" if differs else "")
    console.print(table)
    side_console().print(_next(case))


def _lines(side: Side | None) -> dict[str, str]:
    """The side's words, by what they are about."""
    if side is None:
        return {}
    return {name.replace("_", " "): _word(value) for name, value in asdict(side).items()}


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, datetime):
        return _time(value.timestamp())
    return "–" if value is None else str(value)


def _next(case: Case) -> str:
    doubt = case.doubt
    names = f"{doubt.student_number} {doubt.other_number or '--holder'}"
    return f"sesame identities merge {names} --reason TEXT\nsesame identities separate {names} --reason TEXT"


def _why(evidence: Iterable[str]) -> str:
    return ", ".join(_EVIDENCE.get(each, each) for each in evidence)


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _time(epoch_s: float) -> str:
    return _moment(epoch_s).astimezone().strftime("%Y-%m-%d %H:%M")
