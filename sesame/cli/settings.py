"""`sesame settings`: show them, check them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from schemas.language import gettext, ngettext
from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import CommandResult

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sesame.settings import SettingsError


@click.group()
def settings() -> None:
    """Show or check the settings."""


@settings.command()
@json_option
@pass_context
def show(context: Context) -> CommandResult:
    """Show every setting in force, secrets masked; the advanced ones last."""
    from sesame.settings.display import masked

    found = context.settings
    shown = dict(masked(found))
    return CommandResult(shown, partial(_show, shown, found.advanced()))


def _show(shown: Mapping[str, object], advanced: Collection[str]) -> None:
    for name in (each for each in shown if each not in advanced):
        click.echo(f"{name} = {shown[name]}")
    click.echo("\n# " + gettext("Advanced"))
    for name in (each for each in shown if each in advanced):
        click.echo(f"{name} = {shown[name]}")


@settings.command()
@pass_context
def check(context: Context) -> None:
    """Check the settings: the file, the environment, and every secret that they name."""
    from sesame.settings import SettingsError, find_file

    where = find_file(context.config)
    found = context.settings
    unusable = [each.fault for each in found.connectors.values() if each.fault is not None]
    faults = [fault for name in found.sections() for fault in _secret_faults(getattr(found, name))]
    for fault in (*unusable, *faults):
        click.echo(f"{fault}\n  {fault.remedy}", err=True)
    if unusable:
        raise SettingsError(
            ngettext(
                "{n} connector cannot be used: see above",
                "{n} connectors cannot be used: see above",
                len(unusable),
            )
        )
    if not faults:
        _ = found.store_url  # which looks at what the URL says too
    if faults:
        raise SettingsError(
            ngettext(
                "{n} secret cannot be used: see above", "{n} secrets cannot be used: see above", len(faults)
            )
        )
    source = where or gettext("no file: defaults and environment")
    click.echo(gettext("The settings are usable ({source}).", source=source), err=True)


def _secret_faults(section: BaseModel) -> Iterator[SettingsError]:
    from sesame.settings import Section, SettingsError

    if not isinstance(section, Section):
        return
    for name in section.secrets():
        if not section.has_secret(name):
            continue
        try:
            section.secret(name)
        except SettingsError as error:
            yield error
