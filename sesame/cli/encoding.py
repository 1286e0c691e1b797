"""Outputs that cannot write every character: write the nearest one, never fail.

Text is for people, and stays readable: `Noël… Œuvrard` is `Noël... Oeuvrard` in Latin-1. JSON is escaped
instead (`output.write_json`), so that nothing is lost.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import Final

_HANDLER: Final = "sesame.nearest"
_ARROWS: Final = {"←": "<-", "→": "->"}
_LONE: Final = range(0xDC80, 0xDD00)  # bytes of a file's name that are wrong in the system's encoding


def write_anything() -> None:
    """Let both outputs of this process take every character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, _AsciiOutput):
            continue
        if codecs.lookup(stream.encoding).name == "ascii":
            setattr(sys, name, _AsciiOutput(stream))
        else:
            stream.reconfigure(errors=_HANDLER)


class _AsciiOutput(io.TextIOWrapper):
    """An ASCII output that stays one: click would take `ascii` for an error.

    It would write UTF-8 instead.
    """

    encoding = "x-ascii"  # which click does not know

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer, encoding="ascii", errors=_HANDLER, line_buffering=stream.line_buffering
        )


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """A `codecs` error handler: substitutes for characters that the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_near, error.object[error.start : error.end])), error.end


def _near(character: str) -> str:
    if ord(character) in _LONE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    from anyascii import anyascii

    return _ARROWS.get(character) or anyascii(character) or ("" if unicodedata.combining(character) else "?")


codecs.register_error(_HANDLER, _nearest)
