"""`sesame audit`: who did what, when and why, and whether its chain is intact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, moment, write
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.operations.keeping import audit as keeping_audit
    from sesame.operations.people.diagnosis import act_sentences

_SHOWN = 50


_FILTERS: Final = (
    click.option("--student", metavar="NUMBER", help="About this student, alone or among others."),
    click.option("--by", "--actor", "actor", help="By this user, whoever's rights they had."),
    click.option(
        "--act",
        "--action",
        "action",
        help="This one, or all of a kind: `hold` means hold.place and hold.lift.",
    ),
    click.option(
        "--about", metavar="VALUE", help="A student number, a consumer, a replay's or a file's name."
    ),
    click.option("--since", help="Of this time on, e.g. 2026-09-01T08:00 (of the site's time zone)."),
    click.option("--until", help="Before this time."),
    click.option("--acts-only", is_flag=True, help="Without those who only looked at persons."),
)


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The options that select entries."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _times(context: Context, since: str | None, until: str | None) -> dict[str, Any]:
    """The options' times, of the zone that the settings name."""
    context.settings  # noqa: B018 (read first)
    return {"since": moment("--since", since) or 0.0, "until": moment("--until", until)}


@click.group(invoke_without_command=True)
@_filtered
@click.option("--before", type=int, metavar="ID", help="The page that is older than this entry.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=_SHOWN, show_default=True, help="No more than so many."
)
@json_option
@pass_context
def audit(context: Context, /, *, since: str | None, until: str | None, limit: int, **given: Any) -> None:
    """Show who did what and why, the newest first.

    Every act of an operator is here, with each look at persons: one entry, with the count and, of at most 20,
    their numbers. An act by sudo is under the caller's name. Entries are never changed, and `sesame audit
    verify` shows it. Reasons are kept apart, and may have been removed.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    page = keeping_audit.AuditPageRequest(**_times(context, since, until), limit=limit + 1, **given)
    found = context.run(keeping_audit.entries, page)
    shown, more = found[:limit], len(found) > limit
    write(CommandResult(shown, partial(_show, shown)))
    if more:
        remark(gettext("older ones: --before {id}", id=shown[-1].id))


def _show(entries: Sequence[keeping_audit.AuditEntry]) -> None:
    detail = gettext("detail")
    names = (gettext("id"), gettext("at"), gettext("actor"), gettext("action"), detail, gettext("reason"))
    rows = [
        (
            str(entry.id),
            local_time(entry.at),
            entry.actor,
            entry.action,
            act_sentences.as_text(entry.action, entry.detail),
            entry.reason or "",
        )
        for entry in entries
    ]
    show_table(names, rows, folded=detail)


@audit.command()
@_filtered
@click.option(
    "--format",
    "form",
    type=click.Choice(("csv", "jsonl")),
    default="csv",
    show_default=True,
    help="For a spreadsheet, or a JSON object a line.",
)
@pass_context
def export(context: Context, /, *, since: str | None, until: str | None, form: Any, **given: Any) -> None:
    """Write all entries to standard output, or those that are asked for. Noted in the audit."""
    wanted = keeping_audit.AuditRequest(**_times(context, since, until), **given)
    for line in context.run(keeping_audit.export, wanted, form):
        click.echo(line, nl=False)


@audit.command()
@click.option("--head", metavar="HASH", help="An entry's hash that was kept elsewhere: it must be there.")
@json_option
@pass_context
def verify(context: Context, *, head: str | None) -> CommandResult:
    """Walk the audit's chain of hashes, and say where it breaks.

    Shown are entries that were changed, removed or put in, an end that was cut off, and persons who were put
    in another's place. A chain that somebody has computed anew, or cut with its mark, is whole in itself:
    only a hash that was kept elsewhere (a SIEM, an earlier run) shows it, by --head.

    Ends with 6 where the chain is broken.
    """
    found = context.run(keeping_audit.verify, keeping_audit.Head(hash=head))
    code = ExitCode.DONE if found.whole else ExitCode.DAMAGED
    return CommandResult(found.model_dump(mode="json"), partial(_say_verified, found), code)


def _say_verified(found: keeping_audit.AuditVerified) -> None:
    for each in found.breaks:
        click.echo(_broken(each.kind, each.entry))
    if found.beyond:
        n = found.beyond
        click.echo(ngettext("and {n} more break", "and {n} more breaks", n))
    if found.removed_to is not None and found.removed_at is not None:
        last, at = found.removed_to, local_time(found.removed_at)
        remark(gettext("entries up to {id} ({at}) were moved to the archive", id=last, at=at))
    if found.forgotten:
        n = found.forgotten
        remark(ngettext("{n} name was taken out", "{n} names were taken out", n))
    if found.entries:
        n = found.entries
        walked = ngettext("{n} entry", "{n} entries", n)
        span = gettext("{first} to {last}", first=found.first, last=found.last)
        state = gettext("whole") if found.whole else gettext("broken")
        click.echo(f"{walked}, {span}: {state}")
        click.echo(gettext("head {hash}", hash=found.head))
    else:
        click.echo(gettext("no entries"))


def _broken(kind: str, entry: int) -> str:
    """Describe a break of the chain."""
    words = {
        "changed": gettext("entry {id} was changed", id=entry),
        "replaced": gettext("entry {id} was changed, with its hash", id=entry),
        "gone": gettext("entries before {id} are gone", id=entry),
        "put_in": gettext("entry {id} was put in later", id=entry),
        "cut": gettext("the end is gone: entry {id} was the last one", id=entry),
        "person_changed": gettext("entry {id} names another person than was noted", id=entry),
        "person_gone": gettext("entry {id} does not name its persons as was noted", id=entry),
        "head_gone": gettext("the entry of that hash is not there; the last one is {id}", id=entry),
    }
    return words[kind]
