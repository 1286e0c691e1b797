"""The output of `sesame import` for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from producers.registrar.affected import state_words
from producers.registrar.encodings import ENCODINGS
from producers.registrar.explanation import ImportExplanation, LineReading
from producers.registrar.faults import REMEDIES, Fault, Rejection
from producers.registrar.guard import YearFigures
from producers.registrar.packing import WIDE
from producers.registrar.physical import Layout
from producers.registrar.profile import FeedProfile
from producers.registrar.report import ImportKind, ImportReport
from schemas.language import gettext, gettext_noop, ngettext
from sesame.cli.output import remark, year_text
from sesame.operations.people.diagnosis.words import word

_SEPARATORS = {
    ";": gettext_noop("separated by semicolons"),
    ",": gettext_noop("separated by commas"),
    "\t": gettext_noop("separated by tabs"),
}
_ENCODINGS = {**ENCODINGS, "utf-8-sig": gettext_noop("UTF-8 with a byte order mark")}
_DATES = {"dd/mm/yyyy": gettext_noop("dd/mm/yyyy"), "yyyy-mm-dd": gettext_noop("yyyy-mm-dd")}


def explained(file: Path, profile: FeedProfile, explanation: ImportExplanation) -> Iterator[str]:
    """The explanation, for people."""
    layout = explanation.layout
    yield ngettext(
        "{file}: {n} line ({written}), profile {profile}",
        "{file}: {n} lines ({written}), profile {profile}",
        explanation.rows,
        file=file,
        written=_written(layout),
        profile=profile.name,
    )
    yield from _passed_over(layout)
    if explanation.ignored:
        yield gettext("columns that are not used: {columns}", columns=", ".join(explanation.ignored))
    for line in explanation.lines:
        yield "\n" + gettext("line {line}", line=line.number)
        width = max((len(each.value) for each in line.fields), default=0)
        for each in line.fields:
            yield f"  {each.field:<21} {each.value:<{min(width, 40)}}  ← {each.source}"
        for rejection in line.rejections:
            yield "  " + _refused(rejection)
        if line.fact is not None:
            yield "  " + gettext("gives {what}", what=_given(line))


def _refused(rejection: Rejection) -> str:
    said = {
        "fault": rejection.fault.value,
        "detail": rejection.detail,
        "remedy": gettext(REMEDIES[rejection.fault]),
    }
    if not rejection.column:
        return gettext("refused: {fault}, {detail}. {remedy}", **said)
    return gettext("refused: {column}: {fault}, {detail}. {remedy}", column=rejection.column, **said)


def _given(line: LineReading) -> str:
    fact = line.fact or {}
    if "element" in fact:
        ended, of_group = fact["state"] == "cancelled", fact["group"] is not None
        if of_group:
            end = gettext("the end of a group of a teaching unit")
            return end if ended else gettext("a group of a teaching unit")
        return gettext("the end of a teaching unit") if ended else gettext("a teaching unit")
    if "reason" in fact:
        return gettext("a cancellation ({reason})", reason=state_words(fact["reason"]))
    return gettext(
        "an enrolment: administrative {administrative}, pedagogical {pedagogical}",
        administrative=state_words(fact["administrative"]),
        pedagogical=state_words(fact["pedagogical"]),
    )


def _written(of: Layout | ImportReport) -> str:
    """A file's form: its packing, its encoding and its separator."""
    if of.sheet:
        return gettext("{form}, sheet {sheet}", form=of.form, sheet=of.sheet)
    if not of.separator:
        how = gettext("JSON lines")
    elif of.separator in _SEPARATORS:
        how = gettext(_SEPARATORS[of.separator])
    else:
        how = gettext("separated by {separator}", separator=of.separator)
    encoding = [] if of.form.endswith(WIDE) else [gettext(_ENCODINGS[of.encoding])]
    return ", ".join([*([of.form] if of.form else []), *encoding, how])


def _passed_over(of: Layout | ImportReport) -> Iterator[str]:
    """Lines passed over as no student's data."""
    if of.titles:
        yield ngettext(
            "{n} line above the header was passed over",
            "{n} lines above the header were passed over",
            of.titles,
        )
    if of.footers:
        yield ngettext(
            "{n} line at the end was passed over, as a footer",
            "{n} lines at the end were passed over, as a footer",
            of.footers,
        )


def told(report: ImportReport) -> list[str]:
    """The report, for people."""
    written = _written(report)
    if report.dates:
        forms = ", ".join(gettext(_DATES[form]) for form in sorted(report.dates))
        written = gettext("{written}, dates {forms}", written=written, forms=forms)
    read = ngettext("{n} line ({written})", "{n} lines ({written})", report.lines, written=written)
    students = ngettext("{n} student", "{n} students", report.students)
    rest = ", ".join(
        (
            _unchanged(report),
            ngettext("{n} line repeated", "{n} lines repeated", report.duplicates),
            ngettext("{n} line refused", "{n} lines refused", report.rejected),
        )
    )
    said = {"read": read, "students": students, "facts": ", ".join(_facts(report)), "rest": rest}
    counts = (
        gettext("{read}, {students}; would be published: {facts}; {rest}", **said)
        if report.dry_run or report.held
        else gettext("{read}, {students}; published: {facts}; {rest}", **said)
    )
    return [counts, *_passed_over(report), *map(_year, report.years)]


def _facts(report: ImportReport) -> Iterator[str]:
    """The numbers of published facts."""
    if report.kind is ImportKind.ENROLMENTS:
        yield ngettext("{n} enrolment", "{n} enrolments", report.recorded)
        yield ngettext("{n} cancellation", "{n} cancellations", report.cancelled)
        if report.full_year is not None:
            yield ngettext(
                "{n} cancellation of an absent one", "{n} cancellations of absent ones", report.gone
            )
        return
    yield ngettext("{n} list of teaching units", "{n} lists of teaching units", report.recorded)
    yield ngettext("{n} empty list", "{n} empty lists", report.cancelled)
    if report.full_year is not None:
        yield ngettext(
            "{n} empty list of an absent student", "{n} empty lists of absent students", report.gone
        )


def _unchanged(report: ImportReport) -> str:
    if report.kind is ImportKind.ENROLMENTS:
        return ngettext("{n} enrolment unchanged", "{n} enrolments unchanged", report.unchanged)
    return ngettext("{n} list unchanged", "{n} lists unchanged", report.unchanged)


def _year(figures: YearFigures) -> str:
    """The unusual changes of one academic year."""
    changes = ", ".join(
        gettext("{what}: {n}", what=word("import_changes", change), n=people)
        for change, people in sorted(figures.changes.items())
    )
    said = {"year": year_text(figures.year), "known": figures.known, "changes": changes}
    if figures.leaks:
        return ngettext(
            "{year}: {n} of {known} people affected, over the threshold with {lost} who lost all lately"
            " ({changes})",
            "{year}: {n} of {known} people affected, over the threshold with {lost} who lost all lately"
            " ({changes})",
            figures.affected,
            lost=figures.lost,
            **said,
        )
    if figures.over:
        return ngettext(
            "{year}: {n} of {known} people affected, over the threshold ({changes})",
            "{year}: {n} of {known} people affected, over the threshold ({changes})",
            figures.affected,
            **said,
        )
    return ngettext(
        "{year}: {n} of {known} people affected ({changes})",
        "{year}: {n} of {known} people affected ({changes})",
        figures.affected,
        **said,
    )


def warn(report: ImportReport, approve: str | None, again: str) -> None:
    """Warn of what needs an operator's attention.

    Args:
        approve: the approval that was given.
        again: the command that imports the file in the same way.
    """
    for line in (*_of_files(report), *_of_damage(report, again), *_of_hold(report, approve, again)):
        remark(line)
    if report.spared:
        remark(
            ngettext(
                "{n} student has such a line: nothing was taken from them.",
                "{n} students have such lines: nothing was taken from them.",
                report.spared,
            )
        )
    if report.not_enrolled:
        remark(
            ngettext(
                "{n} list is of a student who is not enrolled in that year, as far as is known: it counts "
                "from the enrolment on.",
                "{n} lists are of students who are not enrolled in that year, as far as is known: they "
                "count from the enrolment on.",
                report.not_enrolled,
            )
        )


def _of_files(report: ImportReport) -> Iterator[str]:
    """The files written, and the consequences of refused lines."""
    if report.affected_path is not None:
        yield gettext("who is affected, and how: {path}", path=report.affected_path)
    if report.rejects_path is not None:
        yield ngettext(
            "{n} line was refused: see {path}",
            "{n} lines were refused: see {path}",
            report.rejected,
            path=report.rejects_path,
        )
    if report.absence_unknown:
        yield ngettext(
            "{n} of them does not say for certain whose it is: nobody was cancelled for being absent. "
            "Correct this line, and import again.",
            "{n} of them do not say for certain whose they are: nobody was cancelled for being absent. "
            "Correct these lines, and import again.",
            report.unattributed,
        )


def _of_damage(report: ImportReport, again: str) -> Iterator[str]:
    if report.misread:
        yield from _misread(report, again)
    elif report.faults.get(Fault.DAMAGED_TEXT):
        yield gettext(
            "Of some the text is damaged. If it is right as it stands, let it pass, once and for all, with "
            "the code that the rejects file gives for it:"
        )
        code = gettext("NUMBER:CODE")
        yield f"  {again} --accept {code}"
    if report.accepted:
        yield ngettext(
            "accepted as they stand: values of {n} student",
            "accepted as they stand: values of {n} students",
            report.accepted,
        )


def _of_hold(report: ImportReport, approve: str | None, again: str) -> Iterator[str]:
    if report.held:
        if approve is not None:
            yield gettext("The approval {id} is for another file or for other differences.", id=approve)
        if report.dry_run:
            yield gettext("This would be held. If the file is right:")
        else:
            yield gettext("Held: nothing was published. If the file is right:")
        yield f"  {again} --approve {report.approval}"
    elif approve is not None and report.approval is None:
        yield gettext("No approval was needed: {id} changed nothing.", id=approve)


def _misread(report: ImportReport, again: str) -> Iterator[str]:
    """Advice for a file with many lines of damaged text."""
    yield ngettext(
        "{n} of {lines} lines holds damaged text, as of a file in a wrong encoding.",
        "{n} of {lines} lines hold damaged text, as of a file in a wrong encoding.",
        report.damaged,
        lines=report.lines,
    )
    if not report.likely_encoding:
        yield gettext("No other encoding sets that right: have the file exported again, whole, in UTF-8.")
        return
    encoding = gettext(ENCODINGS[report.likely_encoding])
    yield gettext("It seems to be {encoding}. See how it would be read:", encoding=encoding)
    yield f"  {again} --encoding {report.likely_encoding} --explain 20"
    yield gettext("then import it so:")
    yield f"  {again} --encoding {report.likely_encoding}"
