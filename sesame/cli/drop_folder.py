"""`sesame imports collect`: the files of a folder, and a mail about each."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.language import gettext, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.errors import ExitCode
from sesame.cli.interruption import interruptible
from sesame.cli.languages import speak
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark

with lazily():
    from email import policy

    from pipeline import letters
    from producers.activation import smtp
    from sesame.app import wiring
    from sesame.cli import import_output
    from sesame.operations.imports import drop_folder
    from sesame.web.students import portal_context

if TYPE_CHECKING:
    from sesame.settings import Settings

_UNSENT = "unsent"
_MODE = 0o700


@click.command("collect")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--profile", metavar="PROFILE", help="How the files are written. Default: the settings', as of `import`."
)
@click.option(
    "--full-year",
    type=click.IntRange(1990, 2100),
    help="The files are complete for this year: cancel what they do not have.",
)
@click.option(
    "--mail-to",
    multiple=True,
    metavar="ADDRESS",
    help="Who is told of each file; all is told in French then. May be repeated.",
)
@json_option
@pass_context
def collect(
    context: Context, *, folder: Path, profile: str | None, full_year: int | None, mail_to: tuple[str, ...]
) -> CommandResult:
    """Import what has come to FOLDER, each file once.

    A file that changed within the last minute is left for the next time. What was imported goes to `taken`;
    what the guard holds, what cannot be read and what is of last year goes to `held`, with what to do in the
    mail. Files of groups come to `groups`. Run it every five minutes: an alert tells when it does not run.
    Exit code 3: some lines or files were refused; 5: some file is held. Noted in the audit.
    """
    if mail_to:
        speak("fr")  # what the import finds out is worded once, refused lines too
    post = _Post(context.settings, folder / _UNSENT, [letters.mailbox(each) for each in mail_to])
    post.send_again()
    request = drop_folder.CollectRequest(folder=folder, profile=profile, full_year=full_year)
    with interruptible():
        found = context.run_creating(drop_folder.collect, request, clock=wiring.utc_now, each=post.tell)
    return CommandResult(
        found, partial(_show, found), ExitCode.DEPENDENCY_DOWN if post.unsent else _code(found)
    )


def _code(found: drop_folder.Collected) -> ExitCode:
    ends = {each.end for each in found.files}
    if ends & {drop_folder.DroppedEnd.HELD, drop_folder.DroppedEnd.LAST_YEAR}:
        return ExitCode.HELD
    rejected = any(each.report is not None and each.report.rejected for each in found.files)
    return ExitCode.PARTLY if rejected or drop_folder.DroppedEnd.REFUSED in ends else ExitCode.DONE


def _show(found: drop_folder.Collected) -> None:
    for each in found.files:
        click.echo("\n".join([f"{each.file}: {_ended(each)}", *_lines(each)]))
    if found.arriving:
        remark(
            ngettext(
                "{n} file is still being written, or came within the last minute.",
                "{n} files are still being written, or came within the last minute.",
                found.arriving,
            )
        )


def _ended(one: drop_folder.DroppedFile) -> str:
    end, ends = one.end, drop_folder.DroppedEnd
    if end is ends.HELD:
        return gettext("held: nothing was published")
    if end is ends.REFUSED:
        return gettext("refused: it cannot be read")
    if end is ends.LAST_YEAR:
        return gettext("held: it is of a year that is over")
    if end is ends.REPEATED:
        return gettext("it came before, and changes nothing")
    refused = one.report.rejected if one.report is not None else 0
    if refused:
        return ngettext("imported, but for {n} line", "imported, but for {n} lines", refused)
    return gettext("imported")


def _lines(one: drop_folder.DroppedFile) -> list[str]:
    told = [] if one.report is None else import_output.told(one.report)
    return [*told, *filter(None, (one.why, one.remedy))]


class _Post:
    """The mails of one run. One that the server does not take is kept in a folder, and sent the next time."""

    def __init__(self, settings: Settings, folder: Path, to: list[Address]) -> None:
        self._settings, self._folder, self._to = settings, folder, to
        self._smtp = portal_context.smtp_of(settings)
        self.unsent = 0

    def tell(self, one: drop_folder.DroppedFile) -> None:
        """Tell of a file."""
        for to in self._to:
            self._send(self._letter(one, to), None)

    def send_again(self) -> None:
        """Send what an earlier run could not."""
        for path in sorted(self._folder.glob("*.eml")):
            with path.open("rb") as file:
                message = BytesParser(policy=policy.SMTP).parse(file)
            self._send(message, path)

    def _letter(self, one: drop_folder.DroppedFile, to: Address) -> EmailMessage:
        name, path = one.file.name, one.report.rejects_path if one.report is not None else None
        refused = [] if path is None else [gettext("The refused lines are attached, each with its remedy.")]
        message = self._settings.letterhead.write(
            to,
            f"Sésame, {name} : {_ended(one)}",
            "\n\n".join([f"{name} : {_ended(one)}", *_lines(one), *refused]),
            "fr",
            at=wiring.utc_now(),
            name=f"import.{name}".encode("ascii", "ignore").decode().replace(" ", "_").replace("@", "_"),
        )
        if path is not None:
            attached = one.file.with_name(path.name)
            message.add_attachment(attached.read_bytes(), "text", "csv", filename=attached.name)
        return message

    def _send(self, message: EmailMessage, kept: Path | None) -> None:
        try:
            self._smtp.send(message)
        except (smtp.MailServerDown, smtp.MailRefused) as error:
            self.unsent += 1
            remark(gettext("the mail to {to} was not sent: {why}", to=message["To"], why=error))
            if kept is None:
                self._folder.mkdir(mode=_MODE, exist_ok=True)
                number = len(list(self._folder.iterdir()))
                path = self._folder / f"{wiring.utc_now():%Y%m%d-%H%M%S}-{number}.eml"
                path.write_bytes(message.as_bytes())
                path.chmod(0o600)
        else:
            if kept is not None:
                kept.unlink()
