"""`sesame settings`: show them, check them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from schemas.language import gettext, ngettext
from sesame.app.lazy import lazily
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult, remark

with lazily():
    from sesame import settings as sesame_settings
    from sesame.settings import display

if TYPE_CHECKING:
    from pydantic import BaseModel


@click.group()
def settings() -> None:
    """Show or check the settings."""


@settings.command()
@json_option
@pass_context
def show(context: Context) -> CommandResult:
    """Show every setting in force, secrets masked; the advanced ones last."""
    found = context.settings
    shown = dict(display.masked(found))
    return CommandResult(shown, partial(_show, shown, found.advanced()))


def _show(shown: Mapping[str, object], advanced: Collection[str]) -> None:
    lines = {name: f"{name} = {value}" for name, value in shown.items()}
    usual = [line for name, line in lines.items() if name not in advanced]
    last = [line for name, line in lines.items() if name in advanced]
    click.echo("\n".join([*usual, "", "# " + gettext("Advanced"), *last]))


@settings.command()
@pass_context
def check(context: Context) -> None:
    """Check the settings: the file, the environment, and every secret that they name."""
    checked(context)


def checked(context: Context) -> None:
    """Check the settings and their secrets, and print each fault. Raises SettingsError: there is one."""
    where = sesame_settings.find_file(context.config)
    found = context.settings
    unusable = [each.fault for each in found.connectors.values() if each.fault is not None]
    faults = [fault for name in found.sections() for fault in _secret_faults(getattr(found, name))]
    for fault in (*unusable, *faults):
        remark(f"{fault}\n  {fault.remedy}")
    if unusable:
        raise sesame_settings.SettingsError(
            ngettext(
                "{n} connector cannot be used: see above",
                "{n} connectors cannot be used: see above",
                len(unusable),
            )
        )
    if not faults:
        _ = found.store_url  # which looks at what the URL says too
    if faults:
        raise sesame_settings.SettingsError(
            ngettext(
                "{n} secret cannot be used: see above", "{n} secrets cannot be used: see above", len(faults)
            )
        )
    source = where or gettext("no file: defaults and environment")
    remark(gettext("The settings are usable ({source}).", source=source))


def _secret_faults(section: BaseModel) -> Iterator[sesame_settings.SettingsError]:
    if not isinstance(section, sesame_settings.Section):
        return
    for name in section.secrets():
        if not section.has_secret(name):
            continue
        try:
            section.secret(name)
        except sesame_settings.SettingsError as error:
            yield error
