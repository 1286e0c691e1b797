"""Write the generated reference pages, or check them: `python -m sesame.pages [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sesame.app.errors import errors_part
from sesame.app.observability.page import metrics_page
from sesame.app.retention import retention_page
from sesame.cli.page import cli_page
from sesame.operations.people.diagnosis.pages import anchored, linked, tokens_part
from sesame.operations.people.diagnosis.reasons import explanations
from sesame.operations.targets.connectors.page import connectors_page
from sesame.settings.page import settings_page
from sesame.web.api import openapi_page

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "reference"


def causes_page() -> str:
    """Every token and error, in Markdown."""
    return f"{tokens_part()}\n{errors_part(explanations(), anchored, lambda token: linked([token]))}"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "causes.md": causes_page,
    "cli.md": cli_page,
    "connectors.md": connectors_page,
    "metrics.md": metrics_page,
    "openapi.json": openapi_page,
    "retention.md": retention_page,
    "settings.md": settings_page,
}


def stale(folder: Path = FOLDER) -> list[str]:
    """The names of the pages that are missing or not what they would be now."""
    return [
        name
        for name, page in PAGES.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != page()
    ]


def write(folder: Path = FOLDER) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` only compare them; the exit code."""
    if "--check" not in arguments:
        write()
        return 0
    old = stale()
    if old:
        sys.stderr.write(f"docs/reference is not current: {', '.join(old)}. Run `make pages`.\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
