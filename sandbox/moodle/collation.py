r"""MariaDB's comparison of text by Moodle's collation, `utf8mb4_unicode_ci`.

Equality ignores case, accents and trailing spaces; LIKE ignores case and accents only, with `%` and `_` as
wildcards and `\` as escape.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable


def fold(text: str) -> str:
    """Return the text without case and accents, as LIKE sees it."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def equality_key(text: str) -> str:
    """The key under which `=` and a unique index find the text. Two equal keys are one value."""
    return fold(text).rstrip(" ")


def like(pattern: str) -> Callable[[str], bool]:
    """Return a predicate: whether a text is LIKE the pattern."""
    parts: list[str] = []
    chars = iter(fold(pattern))
    for char in chars:
        if char == "\\":
            parts.append(re.escape(next(chars, "\\")))
        else:
            parts.append({"%": ".*", "_": "."}.get(char) or re.escape(char))
    matcher = re.compile("".join(parts), re.DOTALL)
    return lambda text: matcher.fullmatch(fold(text)) is not None
