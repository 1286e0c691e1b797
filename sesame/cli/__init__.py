"""The command line. Data goes to standard output, everything else to standard error.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 partly done, 4 a dependency is down, 5 held for
approval, 6 damaged or changed, 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path

import click

from schemas.language import LANGUAGES, Language
from sesame.app import gc_freeze
from sesame.cli.commands import COMMANDS, RootGroup
from sesame.cli.context import Context
from sesame.cli.languages import HELP

__all__ = ["main"]


@click.group(
    cls=RootGroup,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file. Default: $SESAME_CONFIG, ./sesame.toml, then /etc/sesame/sesame.toml.",
)
@click.option("--lang", type=click.Choice(LANGUAGES), help=HELP)
@click.version_option(package_name="sesame", message="%(package)s %(version)s")
@click.pass_context
def main(ctx: click.Context, config: Path | None, lang: Language | None) -> None:
    """Sésame: from the registrar's file to accounts that work.

    Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 partly done, 4 a dependency is down,
    5 held for approval, 6 damaged or changed, 130 interrupted.
    """
    gc_freeze.load()
    ctx.call_on_close(gc_freeze.usual)
    ctx.obj = Context(config=config)
    ctx.call_on_close(ctx.obj.close)
    ctx.obj.choose(lang)
