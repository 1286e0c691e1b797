"""`sesame adopt`: a population that exists already."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from schemas.language import gettext, gettext_noop, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import dry_run_option, json_option, reason_option, write, yes_option
from sesame.cli.output import CommandResult, confirm, remark, show_table, step_shown

with lazily():
    from sesame.acts import acts
    from sesame.app import wiring
    from sesame.operations.access import activation
    from sesame.operations.people.diagnosis import words
    from sesame.operations.questions.adoption import acts as adoption_acts
    from sesame.operations.questions.adoption import run

_ID_SHOWN = 12


@click.group(invoke_without_command=True)
@dry_run_option
@json_option
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a line for each object here (CSV, for a spreadsheet; personal data).",
)
@click.pass_context
def adopt(ctx: click.Context, *, dry_run: bool, report_path: Path | None) -> None:
    """Take account of what exists in the targets: whose it is, and which names are in use.

    Reads every entry, mailbox and Moodle user, and whoever another target lists, and compares them with the
    registry. Takes every login, mail address and principal name into the ledger, so that nobody is given one
    of them; links what is certainly a student's, who keeps login and mail; asks an operator the rest. Nothing
    is written to any target. Doing it again adds what is new. Exit code 3 when something waits for an
    operator: `sesame adopt questions`.
    """
    if ctx.invoked_subcommand is not None:
        return
    context = ctx.ensure_object(Context)
    site = context.looking if dry_run else context.application
    found = adoption_acts.adopt(
        site,
        operator(),
        adoption_acts.AdoptionRequest(dry_run=dry_run, report_path=report_path),
        clock=wiring.utc_now,
        progress=step_shown,
    )
    write(CommandResult(found, lambda: click.echo("\n".join(_text(found)))))
    if report_path is not None:
        remark(gettext("object by object: {path}", path=report_path))
    asked = sum(found.questions.values())
    if asked:
        remark(
            ngettext(
                "{n} question waits for an operator: sesame adopt questions",
                "{n} questions wait for an operator: sesame adopt questions",
                asked,
            )
        )
        raise click.exceptions.Exit(int(ExitCode.PARTLY))


@adopt.command(name="questions")
@click.option("--kind", help="Those of one kind only.")
@click.option("--all", "everything", is_flag=True, help="Those too that are decided or mended.")
@json_option
@pass_context
def questions_command(context: Context, *, kind: str | None, everything: bool) -> CommandResult:
    """List what waits for an operator, with the objects it is about: personal data."""
    asked = adoption_acts.QuestionsRequest(kind=kind, everything=everything)
    found = context.run(adoption_acts.questions, asked)
    return CommandResult(found, partial(_show_questions, found))


@adopt.command(name="decide")
@click.argument("ids", nargs=-1)
@click.option("--kind", help="Instead of ids: every open question of this kind.")
@click.option("--link", "answer", flag_value="linked", help="The object is this student's, as it is.")
@click.option("--separate", "answer", flag_value="separate", help="The object is somebody else's.")
@reason_option()
@yes_option
@pass_context
def decide_command(
    context: Context, *, ids: tuple[str, ...], kind: str | None, answer: str | None, reason: str, yes: bool
) -> None:
    """Answer the questions IDS; the next `sesame adopt` acts on it, and nobody is asked again.

    An accepted correction counts at once.
    """
    if answer is None or bool(ids) == (kind is not None):
        raise click.UsageError(gettext("give ids or --kind, and one of --link and --separate"))
    site, actor = context.looking, operator()
    given = {"ids": ids, "kind": kind, "answer": answer, "reason": reason}
    request = adoption_acts.AnswerRequest.model_validate(given)
    if kind is not None and not yes:
        found = adoption_acts.questions(site, actor, adoption_acts.QuestionsRequest(kind=kind))
        confirm(gettext("Answer {n} questions at once by {answer}?", n=len(found), answer=answer))
        newest = max((question.raised_at for question in found), default=0.0)
        request = request.model_copy(update={"until": newest})
    done = adoption_acts.decide(site, actor, request)
    text = (
        gettext("{n} decided: {answer}; each is looked at again now", n=done.decided, answer=answer)
        if done.replayed
        else gettext("{n} decided: {answer}; `sesame adopt` acts on it", n=done.decided, answer=answer)
    )
    click.echo(text)


@adopt.command(name="link")
@click.argument("student")
@click.argument("object_", metavar="OBJECT")
@click.option("--target", required=True, help="The target that it is in.")
@reason_option()
@pass_context
def link_command(context: Context, *, student: str, object_: str, target: str, reason: str) -> None:
    """Say that OBJECT is STUDENT's although nothing on it tells; the next `sesame adopt` acts on it.

    OBJECT is as the report names it: a DN, a mail address, a Moodle user's id, or what another target calls
    it.
    """
    request = adoption_acts.LinkRequest(student_number=student, object=object_, target=target, reason=reason)
    try:
        linked = context.run(adoption_acts.link, request)
    except acts.UnknownTarget as error:
        raise click.BadParameter(str(error)) from error
    click.echo(
        gettext("{object} is {student}'s; `sesame adopt` acts on it", object=linked.object, student=student)
    )


@adopt.command(name="activate")
@dry_run_option
@yes_option
@json_option
@pass_context
def activate_command(context: Context, *, dry_run: bool, yes: bool) -> CommandResult:
    """Let Sésame look after the accounts of all students with an adopted entry, as if they had activated.

    Their passwords stay. What follows in a target is up to its mode: in `observe` it is only told, in `write`
    it is written.
    """
    written = adoption_acts.written_targets(context.looking)
    if written and not (yes or dry_run):
        confirm(gettext("These targets will be written: {targets}. Go on?", targets=", ".join(written)))
    request = activation.ActivateAllRequest(dry_run=dry_run)
    report = context.run(adoption_acts.activate, request, clock=wiring.utc_now)
    counts = {"n": report.requested, "already": report.already}
    if dry_run:
        text = gettext("{n} accounts would be asked for, {already} were before", **counts)
    else:
        text = gettext("{n} accounts are asked for, {already} were before", **counts)
    return CommandResult(report, partial(click.echo, text))


def _show_questions(found: list[adoption_acts.AdoptionQuestion]) -> None:
    if not found:
        remark(gettext("No questions."))
        return
    show_table(
        (
            *(gettext("id"), gettext("kind"), gettext("target"), gettext("student")),
            *(gettext("state"), gettext("object")),
        ),
        [
            (each.id[:_ID_SHOWN], each.kind, each.target, each.student_number or "", each.state, each.object)
            for each in found
        ],
    )
    for each in sorted({question.kind for question in found}):
        remark(f"{each}: {_words(each)}")


def _text(found: run.AdoptionReport) -> Iterator[str]:
    for target, standings in found.standings.items():
        counts = ", ".join(gettext(_PLURALS[standing], n=count) for standing, count in standings.items())
        n = found.read[target]
        yield gettext("{target}: {n} objects: {counts}", target=target, n=n, counts=counts)
    for kind, count in found.questions.items():
        yield gettext("  {kind}: {n}: {what}", kind=kind, n=count, what=_words(kind))
    if found.written is None:
        yield gettext("dry run: nothing was written")
    else:
        yield gettext(
            "ledger: {names} new names; {adopted} objects newly linked; {asked} new questions, "
            "{mended} mended; {accounts_differing} accounts are made again",
            **{name: getattr(found.written, name) for name in _WRITTEN},
        )


_WRITTEN = ("names", "adopted", "asked", "mended", "accounts_differing")
_PLURALS = {
    "match": gettext_noop("{n} matches"),
    "candidate": gettext_noop("{n} candidates"),
    "conflict": gettext_noop("{n} in conflict"),
    "stranger": gettext_noop("{n} strangers"),
}


def _words(kind: str) -> str:
    what, remedy = (words.word(table, kind) for table in ("object_questions", "object_remedies"))
    return f"{what}. {remedy}" if what else gettext("linked by hand")
