"""The style sheet, the script and the picture, under names that change with their content.

So browsers keep them for good, and a new version's pages never meet an old version's script.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER: Final = Path(__file__).with_name("static")
PATH: Final = "/static"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FINGERPRINT: Final = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")


@cache
def fingerprinted() -> Mapping[str, str]:
    """The name of each file in addresses, by its own name: `portal.1f2e3d4c5b6a.css`."""
    return {path.name: _named(path) for path in sorted(FOLDER.iterdir()) if path.is_file()}


def address(name: str) -> str:
    """Where a page finds this file.

    Raises:
        KeyError: there is none of this name.
    """
    return f"{PATH}/{fingerprinted()[name]}"


class Assets(StaticFiles):
    """Serves them. Another version's name gets this version's file, which is not kept."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        name = _FINGERPRINT.sub("", path)
        response = await super().get_response(name, scope)
        kept = fingerprinted().get(name) == path
        response.headers["Cache-Control"] = _FOR_GOOD if kept else "no-cache"
        return response


def _named(path: Path) -> str:
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"
