"""Page cursors of lists: signed, and valid only for the list that gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sesame.web.api.problems import ApiError
from sesame.web.kit.signatures import Signing

CURSOR: Final = "cursor"
AGE_S_MAX: Final = 7 * 86_400


class UnfitCursor(ApiError):
    """This cursor is none of ours, is over a week old, or belongs to another list or filter. Begin with the
    first page again, and follow the links."""


class Cursors:
    """Makes cursors and reads them."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing

    def give(self, path: str, wanted: Mapping[str, object], position: str | int) -> str:
        """The cursor of a position. `path`: of the list; `wanted`: its filter."""
        return self._signing.sign(CURSOR, [path, _filter(wanted), position])

    def take(self, path: str, wanted: Mapping[str, object], cursor: str) -> str | int:
        """The position of a cursor. Raises `UnfitCursor`: it is not of this list."""
        match self._signing.read(CURSOR, cursor, age_s_max=AGE_S_MAX):
            case [of, filtered, str() | int() as position] if [of, filtered] == [path, _filter(wanted)]:
                return position
        raise UnfitCursor


def _filter(wanted: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in sorted(wanted.items()) if value is not None}
