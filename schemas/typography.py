"""French typography: the blanks at which no line may break. For all French texts."""

from __future__ import annotations

import re
from typing import Final

NO_BREAK: Final = "\u00a0"
NARROW: Final = "\u202f"

_SETTINGS: Final = (
    (re.compile(r" +(?=[;!?])"), NARROW),
    (re.compile(r" +(?=:(?:\s|$))"), NO_BREAK),  # nor in an address, nor in a time
    (re.compile(r"«[ \u00a0]*"), f"«{NO_BREAK}"),
    (re.compile(r"[ \u00a0]*»"), f"{NO_BREAK}»"),
    (re.compile(r"\bn° *(?=\S)"), f"n°{NO_BREAK}"),
)


def spaced(text: str) -> str:
    """French as a typographer sets it: narrow no-break blanks before ; ! ?, full ones at : and guillemets.

    Source: Lexique des règles typographiques en usage à l'Imprimerie nationale, 'Ponctuation'.
    """
    for where, blank in _SETTINGS:
        text = where.sub(blank, text)
    return text
