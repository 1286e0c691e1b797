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

from schemas.language import gettext, gettext_noop
from sesame.cli import click_words
from sesame.cli.encoding import write_anything
from sesame.cli.errors import ExitCode, report
from sesame.cli.languages import in_words, speak, speak_as_asked, with_lang
from sesame.cli.output import count_remarks, remark

SECTIONS: Final[dict[str, dict[str, str]]] = {
    gettext_noop("Students"): {
        "status": "sesame.cli.status:status",
        "diagnose": "sesame.cli.support:diagnose",
        "students": "sesame.cli.status:students",
        "cohorts": "sesame.cli.status:cohorts",
        "support": "sesame.cli.support:support",
        "access": "sesame.cli.support:access",
        "letter": "sesame.cli.support:letter",
        "unlock": "sesame.cli.support:unlock",
        "activate": "sesame.cli.activate:activate",
        "provision": "sesame.cli.provision:provision",
        "hold": "sesame.cli.hold:hold",
    },
    gettext_noop("Registrar's files"): {
        "import": "sesame.cli.imports:import_command",
        "imports": "sesame.cli.past_imports:imports",
        "identities": "sesame.cli.identities:identities",
        "ledger": "sesame.cli.identities:ledger",
    },
    gettext_noop("Targets"): {
        "overview": "sesame.cli.overview:overview",
        "forecast": "sesame.cli.forecast:forecast",
        "rehearse": "sesame.cli.forecast:rehearse",
        "canary": "sesame.cli.canary:canary",
        "targets": "sesame.cli.targets:targets",
        "reconcile": "sesame.cli.reconcile:reconcile",
        "adopt": "sesame.cli.adopt:adopt",
        "connector": "sesame.cli.connector:connector",
    },
    gettext_noop("Failures"): {
        "dead-letters": "sesame.cli.dead_letters:dead_letters",
        "replay": "sesame.cli.replay:replay",
        "replays": "sesame.cli.replay:replays",
        "quarantine": "sesame.cli.consumers:quarantine",
        "lost-records": "sesame.cli.consumers:lost_records_group",
    },
    gettext_noop("Retention and audit"): {
        "lifecycle": "sesame.cli.lifecycle:lifecycle",
        "entitlements": "sesame.cli.lifecycle:entitlements",
        "guests": "sesame.cli.lifecycle:guests",
        "privacy": "sesame.cli.privacy:privacy",
        "audit": "sesame.cli.audit:audit",
        "export": "sesame.cli.export:export",
        "evidence": "sesame.cli.evidence:evidence",
        "review": "sesame.cli.evidence:review",
    },
    gettext_noop("Processes"): {
        "run": "sesame.cli.services:run",
        "consume": "sesame.cli.services:consume",
        "serve": "sesame.cli.services:serve",
        "web": "sesame.cli.services:web",
        "console": "sesame.cli.services:console",
        "processes": "sesame.cli.consumers:processes",
    },
    gettext_noop("Backups"): {
        "backup": "sesame.cli.backup:backup",
        "restore": "sesame.cli.backup:restore",
        "restored": "sesame.cli.restored:restored",
    },
    gettext_noop("Installation"): {
        "init": "sesame.cli.installation:init",
        "doctor": "sesame.cli.doctor:doctor",
        "settings": "sesame.cli.settings:settings",
        "migrate": "sesame.cli.installation:migrate",
        "vault": "sesame.cli.installation:vault",
        "token": "sesame.cli.token:token",
        "topics": "sesame.cli.kafka:topics",
        "rights": "sesame.cli.kafka:rights",
        "completion": "sesame.cli.installation:completion",
        "man": "sesame.cli.installation:man",
        "version": "sesame.cli.installation:version",
    },
}
"""By the help's sections: name to `module:attribute` of a command; the module is imported when it runs."""

COMMANDS: Final = {name: place for section in SECTIONS.values() for name, place in section.items()}


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which suggests commands that are imported already only."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as unknown:
            names = self.list_commands(ctx)
            raise click.exceptions.NoSuchCommand(unknown.command_name, possibilities=names, ctx=ctx) from None


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
            count_remarks()
            speak("en")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, in the language that they select."""
        self.get_help_option(ctx)  # made now, in English: it is kept
        speak_as_asked(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, in the current language."""
        super(RootGroup, in_words(self)).format_help(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their sections, each with its whole summary."""
        longest = max(map(len, COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(gettext(section)):
                found = ((name, self.get_command(ctx, name)) for name in commands)
                formatter.write_dl(
                    [(name.ljust(longest), each.short_help or "") for name, each in found if each is not None]
                )

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
