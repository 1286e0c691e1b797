"""`sesame identities settle`: many doubts by one rule, after a preview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import click

from schemas.language import gettext, ngettext
from sesame.app.lazy import lazily
from sesame.cli import identity_words as words
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.interruption import deferred
from sesame.cli.options import dry_run_option, json_option, wants_json, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table

with lazily():
    from consumers.registry import doubt_rules
    from sesame.app import wiring
    from sesame.operations.identities import acts as identities_acts
    from sesame.operations.identities import settlement
    from sesame.operations.people import known_persons


@click.command(name="settle")
@click.option("--rule", required=True, help="What must agree, and what is said then: see above.")
@click.option(
    "--keep",
    type=click.Choice(("earlier", "later")),
    help="Merge two accounts in use too: the one that was activated earlier, or later, goes on.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@dry_run_option
@yes_option
@json_option
@pass_context
def settle_command(
    context: Context,
    *,
    rule: str,
    keep: str | None,
    limit: int | None,
    dry_run: bool,
    yes: bool,
) -> CommandResult | None:
    """Settle the open doubts that a rule fits, after showing both sides of each: personal data, audited.

    same-ine-and-birth: same INE, names and birth date: merge. same-ine-only: same INE, another birth date, no
    name in common: separate. different-ine: same names and birth date, another INE: separate; for verified
    INEs only. Each decision is one of its own, in the audit too. What a merge could harm is left to one by
    one, and so is what has changed since it was shown. Exit code 3: something had changed.
    """
    if wants_json() and not (dry_run or yes):
        raise click.UsageError(gettext("--json asks nothing: give --dry-run or --yes with it"))
    request = settlement.SettleRequest(
        rule=rule, keep=None if keep is None else settlement.Kept(keep), limit=limit
    )
    shown = context.run(settlement.preview, request)
    show = partial(_show, shown, in_full=dry_run or not yes)
    if dry_run:
        return CommandResult(shown, show)
    if not wants_json():
        show()
        if not shown.settled:
            return None
    if not yes:
        confirm(_question(shown))
    return _settle(context, request, shown)


def _settle(
    context: Context, request: settlement.SettleRequest, shown: settlement.SettlementPreview
) -> CommandResult:
    """Publish the decisions one by one, and report the results."""
    told: list[str] = []

    def tell(each: settlement.SettledDoubt) -> None:
        told.append(_text(each))
        if not wants_json():
            click.echo(gettext("decided: {text}", text=told[-1]))

    with deferred() as interrupted:
        try:
            done = context.run(
                settlement.settle,
                settlement.SettleAgreedRequest(settlement=request, shown=shown),
                clock=wiring.utc_now,
                progress=tell,
                stopped=interrupted,
            )
        except Exception:
            _tell_end(len(told), len(shown.settled))
            raise
        early = interrupted()
    answer = CommandResult(done, lambda: None, ExitCode.PARTLY if done.left else ExitCode.DONE)
    for left in done.left:
        remark(_left(left))
    if early:
        _tell_end(len(told), len(shown.settled))
        return answer._replace(end=ExitCode.INTERRUPTED)
    remark(ngettext("{n} doubt was decided.", "{n} doubts were decided.", len(told)))
    if told:
        remark(gettext("The registry carries it out as it reads it: at once while `sesame run` runs."))
    return answer


def _show(shown: settlement.SettlementPreview, *, in_full: bool) -> None:
    """Show both sides of each doubt to settle, those left over, and the counts."""
    rule = doubt_rules.RULES[shown.rule]
    if in_full and shown.settled:
        merged = shown.decision == "merge"
        first, second = (gettext("ends"), gettext("goes on")) if merged else ("", "")
        rows: list[Sequence[str]] = []
        for each in shown.settled:
            rows += [_row(first, each.mine), _row(second, each.theirs), ("",) * len(_columns())]
        show_table(_columns(), rows[:-1])
    if in_full:
        for left in shown.left:
            remark(_left(left))
    remark(gettext(rule.meaning))
    if rule.caution:
        remark(gettext(rule.caution))
    remark(", ".join(_counts(shown)))


def _columns() -> tuple[str, ...]:
    return (
        "",
        gettext("student number"),
        gettext("names"),
        gettext("birth date"),
        "INE",
        gettext("account"),
        gettext("enrolments"),
    )


def _row(what: str, side: known_persons.Side) -> tuple[str, ...]:
    names = f"{side.birth_name} ({side.usage_name})" if side.usage_name else side.birth_name
    account = words.NONE if side.login is None else f"{side.login} ({words.stage(side.stage)})"
    return (
        what,
        side.student_number,
        f"{names} {side.given_name}".strip(),
        words.born(side.birth_date),
        side.ine or words.NONE,
        account,
        ", ".join(side.enrolments) or words.NONE,
    )


def _counts(shown: settlement.SettlementPreview) -> Iterator[str]:
    n = len(shown.settled)
    if shown.decision == "merge":
        yield ngettext("{n} doubt to merge", "{n} doubts to merge", n)
    else:
        yield ngettext("{n} doubt to separate", "{n} doubts to separate", n)
    if shown.beyond:
        yield gettext("{n} more beyond --limit", n=shown.beyond)
    if shown.left:
        causes = Counter(left.cause.value for left in shown.left)
        told = "; ".join(
            gettext("{why}: {n}", why=words.left(cause), n=n) for cause, n in sorted(causes.items())
        )
        yield gettext("{n} left to one by one ({why})", n=len(shown.left), why=told)
    yield gettext("{n} that the rule does not fit", n=shown.others)


def _question(shown: settlement.SettlementPreview) -> str:
    n = len(shown.settled)
    if shown.decision == "merge":
        return ngettext(
            "Merge {n} pair of numbers, each into one person?",
            "Merge {n} pairs of numbers, each into one person?",
            n,
        )
    return ngettext(
        "Say that {n} pair of numbers is two people?", "Say that {n} pairs of numbers are two people each?", n
    )


def _text(each: settlement.SettledDoubt) -> str:
    told = identities_acts.merged_text if each.decision == "merge" else identities_acts.separate_text
    return told(each.student_number, each.other)


def _left(left: settlement.LeftDoubt) -> str:
    why = words.left(left.cause)
    return gettext("left out: {one} and {other}: {why}", one=left.student_number, other=left.other, why=why)


def _tell_end(done: int, of: int) -> None:
    remark(
        gettext(
            "Ended early: {done} of {of} were decided and stay so; the same command goes on with the others.",
            done=done,
            of=of,
        )
    )
