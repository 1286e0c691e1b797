"""One member after the other out of a large JSON answer, while it arrives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from consumers.moodle.answers import MoodleAnswer, result_of
from consumers.moodle.errors import Broken

_ITEM_CHARS_MAX: Final = 1_000_000
_DECODER: Final = json.JSONDecoder()


def members(pieces: Iterable[str], key: str) -> Iterator[Any]:
    """The members of the array `key`, which must come first in the answer's object.

    Anything else that Moodle says instead (an exception, say) is read whole and raised as `result_of` does.

    Raises:
        Broken: the text ends within the array, or is not JSON.
    """
    source = iter(pieces)
    opening = re.compile(r'\s*\{\s*"' + re.escape(key) + r'"\s*:\s*\[')
    buffer = ""
    for piece in source:
        buffer += piece
        if found := opening.match(buffer):
            yield from _array(buffer[found.end() :], source)
            return
        if len(buffer) > _ITEM_CHARS_MAX:
            raise Broken("Moodle's answer does not begin as expected")
    result_of(MoodleAnswer(200, "application/json", buffer.encode()))
    raise Broken("Moodle's answer does not hold the list that was asked for")


def _array(buffer: str, source: Iterator[str]) -> Iterator[Any]:
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer.startswith("]"):
            return
        if buffer:
            try:
                value, end = _DECODER.raw_decode(buffer)
            except ValueError:
                if len(buffer) > _ITEM_CHARS_MAX:
                    raise Broken("Moodle's answer is not JSON") from None
            else:
                yield value
                buffer = buffer[end:]
                continue
        try:
            buffer += next(source)
        except StopIteration:
            raise Broken("Moodle's answer ended too early") from None
