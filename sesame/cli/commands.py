"""The table of commands, and the groups that import a command on demand.

To add one: write its file, then a line here. The help of a command loads no library but click: what else its
module needs is imported by its functions.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextvars import copy_context
from types import ModuleType
from typing import Any, Final, NoReturn

import click

from schemas.language import gettext
from sesame.cli import click_words
from sesame.cli.encoding import write_anything
from sesame.cli.errors import ExitCode, report
from sesame.cli.languages import in_words, speak, speak_as_asked, with_lang
from sesame.cli.output import remark

COMMANDS: Final[dict[str, str]] = {
    "access": "sesame.cli.support:access",
    "activate": "sesame.cli.activate:activate",
    "adopt": "sesame.cli.adopt:adopt",
    "audit": "sesame.cli.audit:audit",
    "backup": "sesame.cli.backup:backup",
    "cohorts": "sesame.cli.status:cohorts",
    "connector": "sesame.cli.connector:connector",
    "console": "sesame.cli.services:console",
    "consume": "sesame.cli.services:consume",
    "dead-letters": "sesame.cli.dead_letters:dead_letters",
    "diagnose": "sesame.cli.support:diagnose",
    "doctor": "sesame.cli.doctor:doctor",
    "export": "sesame.cli.export:export",
    "hold": "sesame.cli.hold:hold",
    "identities": "sesame.cli.identities:identities",
    "import": "sesame.cli.imports:import_command",
    "imports": "sesame.cli.past_imports:imports",
    "ledger": "sesame.cli.identities:ledger",
    "lifecycle": "sesame.cli.lifecycle:lifecycle",
    "lost-records": "sesame.cli.consumers:lost_records_group",
    "migrate": "sesame.cli.installation:migrate",
    "overview": "sesame.cli.overview:overview",
    "privacy": "sesame.cli.privacy:privacy",
    "processes": "sesame.cli.consumers:processes",
    "provision": "sesame.cli.provision:provision",
    "quarantine": "sesame.cli.consumers:quarantine",
    "reconcile": "sesame.cli.reconcile:reconcile",
    "replay": "sesame.cli.replay:replay",
    "replays": "sesame.cli.replay:replays",
    "restore": "sesame.cli.backup:restore",
    "restored": "sesame.cli.restored:restored",
    "rights": "sesame.cli.kafka:rights",
    "run": "sesame.cli.services:run",
    "serve": "sesame.cli.services:serve",
    "settings": "sesame.cli.settings:settings",
    "status": "sesame.cli.status:status",
    "students": "sesame.cli.status:students",
    "support": "sesame.cli.support:support",
    "targets": "sesame.cli.targets:targets",
    "token": "sesame.cli.token:token",
    "topics": "sesame.cli.kafka:topics",
    "vault": "sesame.cli.installation:vault",
    "version": "sesame.cli.installation:version",
    "web": "sesame.cli.services:web",
}
"""Name to `module:attribute` of a click command; the module is imported when the command runs."""


class LazyGroup(click.Group):
    """A group that imports a command, named `module:attribute`, only when it runs."""

    def __init__(self, *args: Any, lazy_commands: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy_commands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now, with its help in the current language."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].partition(":")
        command = getattr(copy_context().run(_imported, module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._lazy[cmd_name]} is not a click command")
        return in_words(with_lang(command))


def _imported(module: str) -> ModuleType:
    """Import a module in English: click's types take their names at creation."""
    speak("en")
    return importlib.import_module(module)


class RootGroup(LazyGroup):
    """The root group: turns a command's exception into a message and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run `sesame` in one language, on outputs that take every character."""
        write_anything()
        click_words.translate()
        try:
            return super().main(*args, **kwargs)
        finally:
            speak("en")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, in the language that they select."""
        self.get_help_option(ctx)  # made now, in English: it is kept
        speak_as_asked(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, in the current language."""
        super(RootGroup, in_words(self)).format_help(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; on an exception write its message and remedy, and set its code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise  # click shows these as they should be
        except (KeyboardInterrupt, click.Abort):
            remark(gettext("interrupted"))
            _leave(ctx, ExitCode.INTERRUPTED)
        except Exception as error:  # noqa: BLE001 (an operator reads a sentence, never a traceback)
            _leave(ctx, report(error))


def _leave(ctx: click.Context, code: ExitCode) -> NoReturn:
    ctx.exit(int(code))
