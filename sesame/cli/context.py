"""Every command's context: settings, loaded once, and an application, built late."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from pipeline.errors import SesameError
from schemas.language import gettext, keep_time
from sesame.app.lazy import lazily, load_lean
from sesame.cli.languages import speak
from sesame.cli.operator import operator

with lazily():
    from schemas import language as schemas_language
    from sesame import settings as sesame_settings
    from sesame.acts import acts
    from sesame.app import wiring
    from sesame.app.observability import logs

_P = ParamSpec("_P")
_R = TypeVar("_R")


class NothingYet(SesameError):
    """There is no database yet: `sesame import`, `sesame run` or `sesame migrate` makes it. If there should
    be one, other settings name it: give their file by `--config` or `SESAME_CONFIG`."""


class Context:
    """One run of one command.

    Args:
        config: the settings file that `--config` names.
    """

    def __init__(self, *, config: Path | None = None) -> None:
        self.config = config
        self._chosen: schemas_language.Language | None = None
        self._built: wiring.Application | None = None
        self._acting = ExitStack()
        self._tell_repeats: Callable[[], None] = lambda: None

    @cached_property
    def settings(self) -> sesame_settings.Settings:
        """The settings.

        Raises:
            SettingsError: they cannot be used.
        """
        from zoneinfo import ZoneInfo  # what needs no settings starts without

        settings = sesame_settings.load(self.config)
        keep_time(ZoneInfo(settings.portal.timezone))
        if self._chosen is None and settings.language is not None:
            speak(settings.language)
        return settings

    def choose(self, language: schemas_language.Language | None) -> None:
        """Set the language, over the settings; None: theirs, or the locale's."""
        self._chosen = language
        if language is not None:
            speak(language)

    @property
    def application(self) -> wiring.Application:
        """The application as configured; built at the first use, closed with the command."""
        if self._built is None:
            self.quiet_logs()
            self._built = wiring.build(self.settings)
            if self._built.traces is not None:
                self._acting.enter_context(self._built.traces.act(click.get_current_context().command_path))
        return self._built

    @property
    def has_store(self) -> bool:
        """Whether there is a store: a server's is taken to be there."""
        path = self.settings.store_file
        return path is None or path.exists()

    @property
    def looking(self) -> wiring.Application:
        """The application for a read-only command: it creates no database.

        Raises:
            NothingYet: there is none.
        """
        if not self.has_store:
            path = self.settings.store_file
            used = sesame_settings.find_file(self.config) or gettext("the defaults, no file was found")
            raise NothingYet(gettext("there is no {path}; settings: {settings}", path=path, settings=used))
        return self.application

    def run(
        self,
        act: Callable[Concatenate[wiring.Application, acts.Actor, _P], _R],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """Carry out an act as this command's operator. Raises `NothingYet`: it needs a database."""
        return act(self.looking, operator(), *args, **kwargs)

    def run_creating(
        self,
        act: Callable[Concatenate[wiring.Application, acts.Actor, _P], _R],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """Carry out an act as `run`, on a database that is created if there is none."""
        return act(self.application, operator(), *args, **kwargs)

    def quiet_logs(self) -> None:
        """Keep log lines below a warning off standard error: commands write messages."""
        level = self.settings.observability.log_level
        self._tell_repeats = logs.configure_logs(
            level="warning" if level == "info" else level,
            form=self.settings.observability.log_format,
            repeats_max=1,
        )

    def close(self) -> None:
        """Release the application's resources, and tell what was left out of the log."""
        if self._built is not None:
            self._acting.close()
            self._built.close()
            self._built = None
        self._tell_repeats()


_pass_context = click.make_pass_decorator(Context)


def pass_context(command: Callable[Concatenate[Context, _P], _R]) -> Callable[_P, _R]:
    """Decorate a command that takes the `Context` as its first argument. It runs on lean libraries, whichever
    module it loads first."""

    @wraps(command)
    def leanly(context: Context, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if click.get_current_context().invoked_subcommand is None:  # which may only be asked for its help
            load_lean()
        return command(context, *args, **kwargs)

    return _pass_context(leanly)
