"""What `sesame import` says, for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from producers.registrar import ENCODINGS, FeedProfile, ImportExplanation, ImportKind, ImportReport
from producers.registrar.explanation import LineReading
from producers.registrar.faults import REMEDIES, Fault

_WORDS = {
    ImportKind.ENROLMENTS: ("enrolments", "cancellations"),
    ImportKind.TEACHINGS: ("lists of teaching units", "empty lists"),
}
_SEPARATORS = {";": "semicolons", ",": "commas", "\t": "tabs"}


def explained(file: Path, profile: FeedProfile, explanation: ImportExplanation) -> Iterator[str]:
    """The explanation, for people."""
    layout = explanation.layout
    written = _written(layout.encoding, layout.separator, layout.form)
    yield f"{file}: {layout.lines} lines ({written}), profile {profile.name}"
    if explanation.ignored:
        yield f"columns that are not used: {', '.join(explanation.ignored)}"
    for line in explanation.lines:
        yield f"\nline {line.number}"
        width = max((len(each.value) for each in line.fields), default=0)
        for each in line.fields:
            yield f"  {each.field:<21} {each.value:<{min(width, 40)}}  ← {each.source}"
        for rejection in line.rejections:
            place = f"{rejection.column}: " if rejection.column else ""
            remedy = REMEDIES[rejection.fault]
            yield f"  refused: {place}{rejection.fault.value}, {rejection.detail}. {remedy}"
        if line.fact is not None:
            yield f"  gives {_given(line)}"


def _given(line: LineReading) -> str:
    fact = line.fact or {}
    if "element" in fact:
        what = "a teaching unit" if fact["group"] is None else "a group of a teaching unit"
        return f"the end of {what}" if fact["state"] == "cancelled" else what
    if "reason" in fact:
        return f"a cancellation ({fact['reason']})"
    return f"an enrolment: administrative {fact['administrative']}, pedagogical {fact['pedagogical']}"


def _written(encoding: str, separator: str, packed: str) -> str:
    if "sheet" in packed:
        return packed
    names = {**ENCODINGS, "utf-8-sig": "UTF-8 with a byte order mark"}
    form = f"separated by {_SEPARATORS.get(separator, separator)}" if separator else "JSON lines"
    return ", ".join([*([packed] if packed else []), names[encoding], form])


def told(report: ImportReport) -> list[str]:
    """The report, for people."""
    verb = "would be published" if report.dry_run or report.held else "published"
    facts, ended = _WORDS[report.kind]
    gone = "" if report.full_year is None else f"and {report.gone} {ended} of absent ones "
    dates = " and ".join(sorted(report.dates))
    written = _written(report.encoding, report.separator, report.form) + (f", dates {dates}" if dates else "")
    counts = (
        f"{report.lines} lines ({written}), {report.students} students: "
        f"{report.recorded} {facts} and {report.cancelled} {ended} {gone}{verb}, "
        f"{report.unchanged} unchanged, {report.duplicates} repeated, {report.rejected} refused"
    )
    lines = [counts]
    for year in report.years:
        changes = ", ".join(f"{change.value} {people}" for change, people in sorted(year.changes.items()))
        over = " (over the threshold)" if year.over else ""
        lines.append(f"{year.year}: {year.affected} of {year.known} people affected{over}: {changes}")
    return lines


def warn(report: ImportReport, approve: str | None, again: str) -> None:
    """Say what needs somebody's attention.

    Args:
        approve: the approval that was given.
        again: the command that imports the file in the same way.
    """
    if report.affected_path is not None:
        click.echo(f"who is affected, and how: {report.affected_path}", err=True)
    if report.rejects_path is not None:
        click.echo(f"{report.rejected} lines were refused: see {report.rejects_path}", err=True)
    if report.absence_unknown:
        click.echo(
            f"{report.unattributed} of them name no student: nobody was cancelled for being absent. "
            "Correct these lines, and import again.",
            err=True,
        )
    _warn_of_damage(report, again)
    _warn_of_hold(report, approve, again)
    if report.spared:
        click.echo(f"{report.spared} students have such lines: nothing was taken from them.", err=True)
    if report.not_enrolled:
        click.echo(
            f"{report.not_enrolled} lists are of students who are not enrolled in that year, as far as is "
            "known: they count from the enrolment on.",
            err=True,
        )


def _warn_of_damage(report: ImportReport, again: str) -> None:
    if report.misread:
        click.echo("\n".join(_misread(report, again)), err=True)
    elif report.faults.get(Fault.DAMAGED_TEXT):
        click.echo(
            f"Of some the text is damaged. If it is right as it stands, let it pass, once and for all:\n"
            f"  {again} --accept STUDENT",
            err=True,
        )
    if report.accepted:
        click.echo(f"accepted as they stand: values of {report.accepted} students", err=True)


def _warn_of_hold(report: ImportReport, approve: str | None, again: str) -> None:
    if report.held:
        if approve is not None:
            click.echo(f"The approval {approve} is for another file or for other differences.", err=True)
        click.echo(
            f"{'This would be held' if report.dry_run else 'Held: nothing was published'}. If the file is "
            f"right:\n  {again} --approve {report.approval}",
            err=True,
        )
    elif approve is not None and report.approval is None:
        click.echo(f"No approval was needed: {approve} changed nothing.", err=True)


def _misread(report: ImportReport, again: str) -> Iterator[str]:
    """What to do about a file of which many lines hold damaged text."""
    yield f"{report.damaged} of {report.lines} lines hold damaged text, as of a file in a wrong encoding."
    if not report.likely_encoding:
        yield "No other encoding sets that right: have the file exported again, whole, in UTF-8."
        return
    yield f"It seems to be {ENCODINGS[report.likely_encoding]}. See how it would be read:"
    yield f"  {again} --encoding {report.likely_encoding} --explain 20"
    yield "then import it so:"
    yield f"  {again} --encoding {report.likely_encoding}"
