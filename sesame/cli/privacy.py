"""`sesame privacy`: erasing a person, proving it, and what is kept of a person."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from schemas.language import gettext, local_time
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.operator import operator
from sesame.cli.options import json_option, wants_json
from sesame.cli.output import CommandResult, remark, show_table

with lazily():
    from sesame.operations.privacy import acts as privacy_acts
    from sesame.operations.privacy import again, export, receipts

_LOOK_EVERY_S = 0.5


@click.group()
def privacy() -> None:
    """Erase a person, prove it, and hand out what is kept of a person."""


@privacy.command(name="init")
@pass_context
def init_command(context: Context) -> None:
    """Make the privacy key. By it erased persons are recognised: it is never turned, and a copy of it is kept
    apart from the backups.
    """
    made = privacy_acts.init(context, operator())
    remark(gettext("Wrote {path}. Keep a copy of it apart from the backups of the database.", path=made.path))


@privacy.command(name="key")
@json_option
@pass_context
def key_command(context: Context) -> CommandResult:
    """Print the public key by which receipts of this site are verified, and its fingerprint."""
    found = privacy_acts.public_key(context, operator())
    return CommandResult(
        found.model_dump(mode="json"), lambda: click.echo(f"{found.public_key}\n{found.fingerprint}")
    )


@privacy.command(name="erase")
@click.argument("student")
@click.option("--reason", required=True, help="Why; the receipt says it. Name nobody.")
@click.option(
    "--receipt", "to", type=click.Path(dir_okay=False, path_type=Path), help="A new file for the receipt."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0, 86_400),
    default=600,
    show_default=True,
    help="How many seconds to wait for the end; the erasure goes on afterwards.",
)
@json_option
@pass_context
def erase_command(
    context: Context, *, student: str, reason: str, to: Path | None, wait_s: int
) -> CommandResult:
    """Erase STUDENT at every target and in the store, the log and the archive. There is no way back.

    Ends with 3 while something is awaited, which is named: a target that is down or only observed, a hold, a
    doubt about who it is. The erasure goes on by itself.
    """
    if to is not None and to.exists():
        raise click.BadParameter(gettext("{path} exists", path=to), param_hint="--receipt")
    site, actor = context.looking, operator()
    now = privacy_acts.erase(site, actor, privacy_acts.ErasureRequest(student_number=student, reason=reason))
    until, said = time.monotonic() + wait_s, ""
    while now.ended_at is None and time.monotonic() < until:
        if not wants_json() and (words := privacy_acts.how_far(now)) != said:
            remark(words)
            said = words
        time.sleep(_LOOK_EVERY_S)
        now = privacy_acts.standing(site, actor, now.id)
    if now.state != "done":
        end = ExitCode.FAILED if now.ended_at is not None else ExitCode.PARTLY
        return CommandResult(now.model_dump(mode="json"), lambda: click.echo(privacy_acts.how_far(now)), end)
    text = privacy_acts.receipt(site, actor, now.id)
    if to is not None:
        _write(to, text)
        text = gettext("Erased. The receipt is in {path}.", path=to) + "\n"
    return CommandResult(now.model_dump(mode="json"), partial(click.echo, text, nl=False))


@privacy.command(name="again")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@pass_context
def again_command(context: Context, *, files: tuple[Path, ...]) -> CommandResult:
    """Erase again whom a restored store has brought back, by the receipts in FILES.

    Without FILES by those that this machine has kept and the store does not know. Run it before anything
    is started: the erasure goes on then, and gives a new receipt. Whoever has come back since is left alone.
    Ends with 3 if somebody is to be looked at, and with 6, with nothing done, if a receipt is not as it was
    signed.
    """
    given = {str(path): path.read_bytes() for path in files}
    found = context.run(again.again, again.ReceiptsGiven(documents=given or None))
    document = [each.model_dump(mode="json") for each in found]
    undecided = any(each.outcome in again.UNDECIDED for each in found)
    return CommandResult(
        document, partial(_show_again, found), ExitCode.PARTLY if undecided else ExitCode.DONE
    )


def _show_again(found: Sequence[again.ReceiptOutcome]) -> None:
    for each in found:
        click.echo(f"{each.receipt}: {_came_to(each)}")
    if not found:
        click.echo(gettext("The store knows of every receipt that is kept here."))


@privacy.command(name="export")
@click.argument("student")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="A new file for it.")
@json_option
@pass_context
def export_command(context: Context, *, student: str, to: Path | None) -> CommandResult | None:
    """Write what is kept of STUDENT, and what each target shows now, for the person to read.

    Noted in the audit. Without secrets, and without anything of another person. Read what staff wrote before
    you hand it out.
    """
    found = context.run(export.export, student)
    document = found.model_dump(mode="json")
    if to is None:
        return CommandResult(document, lambda: click.echo(_read(found), nl=False))
    in_json = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    _write(to, in_json if wants_json() else _read(found))
    return None


@privacy.command(name="list")
@json_option
@pass_context
def list_command(context: Context) -> CommandResult:
    """Show erasures, the newest first. They name nobody."""
    found = context.run(privacy_acts.listed)
    return CommandResult([each.model_dump(mode="json") for each in found], partial(_show_list, found))


def _show_list(found: Sequence[privacy_acts.ErasureStanding]) -> None:
    columns = (gettext("erasure"), gettext("asked on"), gettext("by"), gettext("state"), gettext("pseudonym"))
    rows = [
        (
            each.id,
            local_time(each.asked_at),
            each.requested_by,
            gettext(privacy_acts.STEPS[each.state]),
            each.pseudonym,
        )
        for each in found
    ]
    show_table(columns, rows)


@privacy.command(name="receipt")
@click.argument("erasure")
@pass_context
def receipt_command(context: Context, *, erasure: str) -> None:
    """Print the receipt of an ERASURE, as it was signed: the ID that `sesame privacy list` shows."""
    click.echo(context.run(privacy_acts.receipt, erasure), nl=False)


@privacy.command(name="verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", help="The site's public key, or its fingerprint, as it was known before.")
@click.option("--student", help="Whose receipt it should be; reads the site's privacy key.")
@json_option
@pass_context
def verify_command(context: Context, *, file: Path, key: str | None, student: str | None) -> CommandResult:
    """Look whether the receipt in FILE is as it was signed. Ends with 6 if it is not.

    Without --key this says that the receipt is whole, and not that it is of this site.
    """
    wanted = privacy_acts.VerifyReceiptRequest(document=file.read_bytes(), key=key, student_number=student)
    found = privacy_acts.verify(context if student is not None else None, operator(), wanted)
    return CommandResult(found.model_dump(mode="json"), partial(_show_verified, found))


def _show_verified(found: receipts.ReceiptVerified) -> None:
    told = {"id": found.receipt.receipt_id, "at": local_time(found.receipt.completed_at)}
    click.echo(gettext("The receipt {id} of {at} is as it was signed.", **told))
    if found.student:
        click.echo(gettext("It is this student's."))
    if found.key_known:
        click.echo(gettext("It was signed by the key that was named."))
    else:
        click.echo(
            gettext("Signed by {key}: compare it with the site's, or give --key.", key=found.fingerprint)
        )


def _write(path: Path, text: str) -> None:
    """Into a new file, for its owner's eyes only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _read(found: export.PersonExport) -> str:
    lines = [gettext("What is kept of {numbers}", numbers=", ".join(found.student_numbers))]
    lines.append(local_time(found.made_at))
    for section in found.sections:
        lines += ["", section.title, *(line for row in section.rows for line in _rows(row))]
    for target in found.targets:
        lines += ["", gettext("What {target} shows now", target=target.target)]
        lines += [line for row in target.objects for line in _rows(row)]
        lines += [f"  {target.unseen}"] if target.unseen else []
    return "\n".join([*lines, "", *found.elsewhere]) + "\n"


def _rows(row: dict[str, Any]) -> list[str]:
    told = [
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in row.items()
    ]
    return [f"{'  - ' if at == 0 else '    '}{line}" for at, line in enumerate(told)]


def _came_to(found: again.ReceiptOutcome) -> str:
    told = {"number": found.student_number, "id": found.erasure, "targets": ", ".join(found.targets)}
    words = {
        "asked": lambda: gettext("{number} is erased again: {id}", **told),
        "under_way": lambda: gettext("{number} is being erased already: {id}", **told),
        "absent": lambda: gettext("nothing of this person is in the store"),
        "returned": lambda: gettext("{number} came back after it, and is left alone", **told),
        "enrolled": lambda: gettext(
            "{number} is enrolled: import the registrar's file of today, then repeat this; whoever is"
            " enrolled still has come back",
            **told,
        ),
        "held": lambda: gettext("{number} is under a hold: lift it when it may be, then repeat this", **told),
        "shown": lambda: gettext(
            "{number} is shown by {targets}: has come back, or that was restored too; if not come back:"
            " sesame privacy erase {number}",
            **told,
        ),
        "unseen": lambda: gettext("{targets} does not tell whether {number} is there: repeat this", **told),
    }
    return words[found.outcome]()
