"""`sesame version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from sesame.cli.options import json_option
from sesame.cli.output import write_json


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Show the version of the program and of Python."""
    sesame, python = installed_version(), platform.python_version()
    if as_json:
        write_json({"sesame": sesame, "python": python})
    else:
        click.echo(f"sesame {sesame} (Python {python})")


def installed_version() -> str:
    """The version that is installed; `unknown` when the program runs from files that are not."""
    try:
        return version_of("sesame")
    except PackageNotFoundError:
        return "unknown"
