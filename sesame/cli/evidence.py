"""`sesame evidence` and `sesame review`: for auditors, and the yearly review."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.language import gettext, local_time, ngettext, spoken
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from consumers.registry.erasure import privacy_key
    from sesame.operations.evidence import pack, reviews
    from sesame.operations.people.diagnosis import words
    from sesame.settings import folders
    from sesame.web.console import evidence as evidence_page

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 20


@click.group(invoke_without_command=True)
@click.option("--framework", default="recyf", show_default=True, help="recyf, cnil-passwords or cnil-logs.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the signed file and the page to hand over into this folder.",
)
@json_option
@pass_context
def evidence(context: Context, *, framework: str, folder: Path | None) -> CommandResult | None:
    """Measure what a framework asks of identities: figures and exceptions.

    Ends with 1 if there are exceptions. `--json` has the queries too. Noted in the audit.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return None
    privacy = None if folder is None else privacy_key.PrivacyKey.read(context.settings.privacy_key_file)
    found = context.run(pack.measure, pack.EvidenceRequest(framework=framework))
    if folder is not None and privacy is not None:
        institution = context.settings.portal.institution
        _write(pack.signed(found, framework, institution, operator(), privacy), folder, context)
    code = ExitCode.FAILED if any(each.exceptions for each in found) else ExitCode.DONE
    return CommandResult([each.model_dump(mode="json") for each in found], partial(_show, found), code)


def _write(made: pack.SignedEvidence, folder: Path, context: Context) -> None:
    folders.make(folder)
    language = context.settings.language or "fr"
    for suffix, text in (("json", made.text()), ("html", evidence_page.document(made, language))):
        path = folder / f"{made.name}.{suffix}"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        remark(gettext("wrote {path}", path=path))


def _show(found: Sequence[pack.Measured]) -> None:
    names = (gettext("measure"), gettext("figure"), gettext("exceptions"))
    rows = [(each.measure, pack.seen_by(each.figure, spoken()), str(len(each.exceptions))) for each in found]
    show_table(names, rows, folded=gettext("figure"))
    for each in found:
        for one in each.exceptions[:_SHOWN]:
            since = "" if one.since is None else local_time(one.since)
            data = pack.seen_by(one.data, spoken())
            click.echo(" ".join(filter(None, (each.name, one.number or "-", since, data))))
        if len(each.exceptions) > _SHOWN:
            n = len(each.exceptions) - _SHOWN
            more = ngettext("{n} more exception", "{n} more exceptions", n)
            remark(f"{each.name}: {more}")


@evidence.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", help="The site's public key, or its fingerprint (`sesame privacy key`).")
@json_option
def verify(*, file: Path, key: str | None) -> CommandResult:
    """Look whether the evidence in FILE is as it was signed. Ends with 6 if it is not.

    Needs no store and no network. Without --key this says that the file is whole, not that it is of this
    site.
    """
    found = pack.verify(file.read_bytes(), key=key)
    return CommandResult(found.model_dump(mode="json"), partial(_show_verified, found))


def _show_verified(found: pack.EvidenceVerified) -> None:
    at = local_time(found.at)
    click.echo(gettext("The evidence {name} of {at} is as it was signed.", name=found.framework, at=at))
    click.echo(gettext("key {fingerprint}", fingerprint=found.fingerprint))
    if found.key_known is None:
        remark(gettext("Whose key this is was not asked: give the site's one by --key."))


@click.group()
def review() -> None:
    """Review the open accounts once a year, by component."""


@review.command(name="open")
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True, help="Days to decide in.")
@json_option
@pass_context
def open_command(context: Context, *, days: int) -> CommandResult:
    """Open the review of all open accounts."""
    return _reviewed(context.run(reviews.open_review, reviews.ReviewOpening(days=days)))


@review.command()
@click.argument("component", default="")
@json_option
@pass_context
def show(context: Context, *, component: str) -> CommandResult:
    """Show the newest review, and the accounts of a COMPONENT: first those to look at."""
    return _reviewed(context.run(reviews.review, reviews.ReviewRequest(component=component)))


@review.command()
@click.argument("component")
@click.argument("students", nargs=-1)
@click.option("--rest", is_flag=True, help="All undecided ones without a note, instead of naming them.")
@click.option("--keep", is_flag=True, help="They stay.")
@click.option("--end", is_flag=True, help="They are to end; nothing is shut by this.")
@click.option("--reason", help="Why; needed for --end.")
@json_option
@pass_context
def decide(
    context: Context,
    *,
    component: str,
    students: tuple[str, ...],
    rest: bool,
    keep: bool,
    end: bool,
    reason: str | None,
) -> CommandResult:
    """Decide on STUDENTS of a COMPONENT. A later decision replaces an earlier one.

    An account that is to end is shut by a hold or its own end, and is in the evidence until then.
    """
    if keep is end:
        raise click.UsageError(gettext("either --keep or --end"))
    given = {
        "component": component,
        "students": students,
        "rest": rest,
        "decision": "keep" if keep else "end",
    }
    request = reviews.ReviewDecision.model_validate({**given, "reason": reason})
    done = context.run(reviews.decide, request)
    return CommandResult(done.model_dump(mode="json"), partial(_show_components, [done]))


def _reviewed(found: reviews.ReviewReport) -> CommandResult:
    return CommandResult(found.model_dump(mode="json"), partial(_show_review, found))


def _show_review(found: reviews.ReviewReport) -> None:
    at, due = local_time(found.opened_at), found.due_on.isoformat()
    click.echo(gettext("opened {at} by {actor}, due on {due}", at=at, actor=found.opened_by, due=due))
    _show_components(found.components)
    for each in found.accounts:
        notes = " ".join(words.word("review_notes", token) for token in each.notes)
        said = "" if each.decision is None else f"{each.decision} ({each.decided_by})"
        click.echo(" ".join(filter(None, (each.student_number, each.name, said, notes))))
    if found.more:
        remark(gettext("there are others: decide on these first"))


def _show_components(found: Sequence[reviews.ReviewedComponent]) -> None:
    names = (gettext("component"), gettext("accounts"), gettext("without a decision"), gettext("to end"))
    rows = [(each.component, str(each.accounts), str(each.undecided), str(each.to_end)) for each in found]
    show_table(names, rows)
