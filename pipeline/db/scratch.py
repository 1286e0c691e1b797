"""A temporary SQLite database (an empty file name), private to this process.

In memory while small, on disk when it grows, gone when closed: a whole university is compared in bounded
memory.
"""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import ClassVar, Final, Self

_CACHE_KIB: Final = 16_384


class ScratchDatabase:
    """Use it in a `with`; not for several threads."""

    schema: ClassVar[str]
    """The statements that make its tables."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(f"PRAGMA cache_size = -{_CACHE_KIB}; PRAGMA journal_mode = OFF; {self.schema}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
