"""`sesame imports`: past imports of the registrar's files, and how each ended."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from schemas.language import gettext, local_time, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.drop_folder import collect
from sesame.cli.errors import ExitCode
from sesame.cli.options import json_option, moment
from sesame.cli.output import CommandResult, duration, remark, show_table, year_text

with lazily():
    from producers.registrar import report
    from sesame.app import wiring
    from sesame.operations.imports import past, polls, proof
    from sesame.operations.people.diagnosis import words

_LIMIT, _LIMIT_MAX = 20, 1000
_PUBLISHED = ("published", "recorded", "cancelled", "gone")


@click.group(name="imports")
def imports() -> None:
    """Look at past imports, poll or prove Pégase, or collect a folder."""


imports.add_command(collect)


@imports.command(name="list")
@click.option("--after", type=int, metavar="ID", help="Those that are older than this one: the next page.")
@click.option(
    "--limit", type=click.IntRange(1, _LIMIT_MAX), default=_LIMIT, show_default=True, help="At most so many."
)
@click.option(
    "--persons", is_flag=True, help="Those by which programs sent one person each, instead of files."
)
@json_option
@pass_context
def list_command(context: Context, *, after: int | None, limit: int, persons: bool) -> CommandResult:
    """List past imports of files, the newest first."""
    page = context.run(past.listed, past.ImportsRequest(limit=limit, after=after, persons=persons))
    return CommandResult(page, partial(_show_page, page, persons=persons))


def _show_page(page: past.ImportsReport, *, persons: bool) -> None:
    if page.persons_sent and not persons:
        sent = ngettext(
            "In 24 hours programs sent a person {n} time: --persons",
            "In 24 hours programs sent a person {n} times: --persons",
            page.persons_sent,
        )
        remark(sent)
    if not page.imports:
        remark(gettext("No import."))
        return
    names = (
        gettext("id"),
        gettext("begun"),
        gettext("by"),
        gettext("file"),
        gettext("of"),
        gettext("state"),
        gettext("lines"),
        gettext("published"),
        gettext("refused"),
        gettext("took"),
    )
    show_table(names, [_row(one) for one in page.imports], right={names[0], *names[6:]})
    if page.next is not None:
        remark(gettext("There are more: add --after {id}", id=page.next))


@imports.command(name="show")
@click.argument("import_id", metavar="ID", type=int)
@json_option
@pass_context
def show_command(context: Context, *, import_id: int) -> CommandResult:
    """Show the import ID: its figures, the years and their differences, and what was refused.

    Noted in the audit.
    """
    found = context.run(past.shown, import_id)
    return CommandResult(found, lambda: click.echo("\n".join(_told(found))))


@imports.command(name="poll")
@click.option(
    "--since",
    help="Read what was modified since then, e.g. 2026-09-01T08:00 (of the site's time zone). Default: since "
    "the last poll.",
)
@click.option("--approve", metavar="ID", help="Let held enrolments go on: the ID that was told.")
@json_option
@pass_context
def poll_command(context: Context, *, since: str | None, approve: str | None) -> CommandResult:
    """Read Pégase once, as `sesame run` does every 30 seconds; import what is new.

    Exit code 3: some were refused; 5: some are held, since too many people would lose something or change
    unusually. Noted in the audit.
    """
    context.settings  # noqa: B018 (read first: it names the zone)
    request = polls.FeedPollRequest(since=moment("--since", since), approve=approve)
    found = context.run(polls.poll, request, clock=wiring.utc_now)
    code = ExitCode.HELD if found.held else ExitCode.PARTLY if found.rejected else ExitCode.DONE
    return CommandResult(found, partial(_show_poll, found), code)


@imports.command(name="prove")
@click.option(
    "--dre",
    "url_file",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of mode 0600 that holds the DRE's address: postgresql://USER:PASSWORD@HOST/DATABASE.",
)
@json_option
@pass_context
def prove_command(context: Context, *, url_file: Path) -> CommandResult:
    """Prove by Pégase's nightly copy (DRE) that the live flow missed no enrolment.

    Nothing is changed. Exit code 1: an enrolment is missed, or the copy does not have it. Noted in the audit.
    """
    found = context.run(proof.prove, proof.ProofRequest(url_file=url_file))
    code = ExitCode.FAILED if found.missed or found.extra else ExitCode.DONE
    return CommandResult(found, partial(_show_proof, found), code)


def _show_proof(found: proof.Proof) -> None:
    click.echo(
        gettext(
            "{dre} enrolments in the DRE ({form}, until {time}), {live} by the live flow",
            dre=found.dre,
            form=found.form,
            time=local_time(found.through),
            live=found.live,
        )
    )
    for title, several in ((gettext("missed here"), found.missed), (gettext("not in the DRE"), found.extra)):
        for one in several:
            click.echo(f"  {title}: {one.student_number} {one.year} {one.step} {one.step_version}")
    if found.missed:
        remark(gettext("Read them again: {command}", command="sesame imports poll --since …"))


def _show_poll(found: polls.FeedPollReport) -> None:
    counts = {"read": found.read, "imported": found.imported, "rejected": found.rejected}
    click.echo(
        gettext(
            "{read} enrolments read until {time}; {imported} were new, {rejected} refused",
            time=local_time(found.through),
            **counts,
        )
    )
    if found.held:
        command = f"sesame imports poll --approve {found.approval}"
        remark(gettext("{n} are held; if they are right: {command}", n=found.held, command=command))
    for difference, rows in found.differences.items():
        remark(gettext("not as the contract says: {what} ({n} enrolments)", what=difference, n=rows))


def _row(one: past.PastImport) -> tuple[str, ...]:
    counts = one.counts
    return (
        str(one.id),
        local_time(one.started_at),
        one.actor or "",
        one.file,
        words.word("import_kinds", one.kind) if one.kind is not None else "",
        words.word("import_states", one.state),
        str(counts.get("lines", "")),
        "" if one.state in ("held", "unfinished") else str(sum(counts.get(name, 0) for name in _PUBLISHED)),
        str(counts.get("rejected", "")),
        "" if one.duration_s is None else duration(one.duration_s),
    )


def _told(one: past.PastImportShown) -> Iterator[str]:
    yield gettext(
        "import {id}: {file} ({feed}), {state}",
        id=one.id,
        file=one.file,
        feed=one.feed,
        state=words.word("import_states", one.state),
    )
    begun = gettext("begun {at}", at=local_time(one.started_at))
    by = gettext("by {actor}", actor=one.actor) if one.actor else ""
    took = gettext("took {duration}", duration=duration(one.duration_s)) if one.duration_s is not None else ""
    yield ", ".join(filter(None, (begun, by, took)))
    if one.line is not None:
        yield gettext("line {n} of {of}", n=one.line, of=one.last_line)
    yield from _figures(one)
    for difference in one.differences or ():
        yield from _difference(difference)
    if one.before is not None:
        yield gettext("the one before: import {id}, {file}", id=one.before.id, file=one.before.file)
    yield from _files(one)


def _figures(one: past.PastImportShown) -> Iterator[str]:
    if one.error:
        yield one.error
    if one.full_year is not None:
        yield gettext("complete for {year}", year=year_text(one.full_year))
    if one.state == "held":
        yield gettext("nothing was published; the figures say what would have been")
    for name in words.glossary()["import_counts"]:
        if one.counts.get(name) or (name in one.counts and name in ("lines", "published")):
            yield "  " + gettext("{what}: {n}", what=words.word("import_counts", name), n=one.counts[name])
    for year in one.years:
        yield from _year(year)
    if one.faults:
        yield gettext("refused, by fault:")
        for fault, count in sorted(one.faults.items()):
            yield "  " + gettext("{what}: {n}", what=fault, n=count)


def _files(one: past.PastImportShown) -> Iterator[str]:
    if one.rejects is not None:
        yield gettext("the refused lines were written to {path}", path=one.rejects)
    if one.affected is not None:
        yield gettext("who was affected was written to {path}", path=one.affected)
    if one.approval is not None and one.state == "held":
        yield gettext(
            "if the file is right, and is still the same: sesame import FILE --approve {approval}",
            approval=one.approval,
        )
    elif one.approval is not None:
        yield gettext("approved: {approval}", approval=one.approval)


def _year(year: dict[str, Any]) -> Iterator[str]:
    yield gettext(
        "{year}: {affected} of {known} people affected, {losing} of them lose something",
        year=year_text(year["year"]),
        affected=year["affected"],
        known=year["known"],
        losing=year["losing"],
    )
    if year["over_threshold"]:
        yield gettext("  over the threshold")
    for change, people in sorted(year["changes"].items()):
        yield "  " + gettext("{what}: {n}", what=words.word("import_changes", change), n=people)


def _difference(difference: report.YearDifference) -> Iterator[str]:
    people = difference.people
    yield gettext(
        "{year}, people: {new} new, {gone} gone, {changed} changed",
        year=year_text(difference.year),
        **people.model_dump(),
    )
    for step, one in difference.programmes.items():
        yield "  " + gettext(
            "{step}, enrolments: {new} new, {gone} gone, {changed} changed", step=step, **one.model_dump()
        )
    if difference.others:
        yield "  " + gettext("and in so many programme steps more: {n}", n=difference.others)
