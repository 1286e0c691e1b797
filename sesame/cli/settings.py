"""`sesame settings`: show them, check them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel, SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from sesame.cli.context import Context, pass_context
from sesame.cli.options import json_option
from sesame.cli.output import write_json
from sesame.settings import Section, SettingsError, find_file

MASK = "********"


@click.group()
def settings() -> None:
    """Show or check the settings."""


@settings.command()
@json_option
@pass_context
def show(context: Context, *, as_json: bool) -> None:
    """Show every setting in force, secrets masked."""
    shown = dict(_shown(context.settings))
    if as_json:
        write_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"{name} = {value}")


@settings.command()
@pass_context
def check(context: Context) -> None:
    """Check the settings: the file, the environment, and every secret that they name."""
    where = find_file(context.config)
    found = context.settings
    faults = [fault for name in found.sections() for fault in _secret_faults(getattr(found, name))]
    for fault in faults:
        click.echo(f"{fault}\n  {fault.remedy}", err=True)
    if not faults:
        _ = found.store_url  # which looks at what the URL says too
    if faults:
        raise SettingsError(f"{len(faults)} secret(s) cannot be used: see above")
    click.echo(f"The settings are usable ({where or 'no file: defaults and environment'}).", err=True)


def _secret_faults(section: BaseModel) -> Iterator[SettingsError]:
    if not isinstance(section, Section):
        return
    for name in section.secrets():
        if not section.has_secret(name):
            continue
        try:
            section.secret(name)
        except SettingsError as error:
            yield error


def _shown(value: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's dotted name and a value that is safe to show."""
    for name in type(value).model_fields:
        part = getattr(value, name)
        if isinstance(part, BaseModel):
            yield from _shown(part, f"{prefix}{name}.")
        else:
            yield prefix + name, _masked(part, name)


def _masked(value: object, name: str) -> object:
    if isinstance(value, SecretStr):
        return _address(value.get_secret_value()) if name == "url" else MASK
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [_masked(item, name) for item in value]
    if isinstance(value, frozenset | set):
        return sorted(str(item) for item in value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _address(url: str) -> str:
    """A database's address, of which only the password is secret; all of it, if it is none."""
    try:
        shown = make_url(url)
    except (ArgumentError, ValueError):
        return MASK
    kept = {name: text for name, text in shown.query.items() if "password" not in name}
    return shown.set(query=kept).render_as_string(hide_password=True).replace(":***@", f":{MASK}@")
