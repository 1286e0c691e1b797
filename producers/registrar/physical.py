"""Physical lines of a file, in bounded memory, numbered as in an editor."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from pipeline.errors import system_words
from producers.registrar import encodings
from producers.registrar.faults import Fault, UnusableFile
from schemas.language import gettext

LINE_BYTES_MAX = 65_536
SHEET_SEPARATOR = ";"  # of an unpacked spreadsheet
LINES_MAX = 99_999_999  # a source sequence has eight digits for the line
UTF8_BOM = codecs.BOM_UTF8
_CHUNK_BYTES = 1 << 16


Digest = Callable[[bytes], object]
"""Takes some more bytes: a hash's `update`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line with data: its cells in the order of the columns, or why it has none.

    Bytes that are wrong in the file's encoding become lone surrogates (U+DC80 to U+DCFF).

    Attributes:
        raw: without cells, the line's beginning.
        student: without cells, the line's likely student; empty: unknown.
    """

    number: int
    cells: tuple[str, ...]
    fault: Fault | None = None
    detail: str = ""
    raw: str = ""
    student: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """A file's properties, known before it is read.

    Attributes:
        encoding: `utf-8`, `utf-8-sig` (with a byte order mark) or `windows-1252`; or as configured.
        separator: between the cells; empty for JSON lines.
        header: the columns' names, in upper case; empty for JSON lines.
        header_line: its line number, above which blank lines and titles may be; 0 for JSON lines.
        lines: how many lines the file has in all, the header included.
        state: size and time of the last change, to notice a file that is still being written.
        last_line: the last one that may have data; below it are empty lines and footers.
        form: of the packing: `gzip`, `zip`, `xlsx`, `ods`; empty: none.
        sheet: the spreadsheet's sheet; empty: it is none.
        titles, footers: how many lines above the header and at the end were skipped, without empty ones.
    """

    encoding: str
    separator: str
    header: tuple[str, ...]
    header_line: int
    lines: int
    state: tuple[int, int]
    last_line: int = LINES_MAX
    form: str = ""
    sheet: str = ""
    titles: int = 0
    footers: int = 0


class Source:
    """A file, its unpacked unnamed copy or sent bytes, to read more than once.

    Attributes:
        path: the file's, for people.
        form: see `Layout`.
        sheet: the sheet read of a spreadsheet, whose rows may leave cells out; None: it was no spreadsheet.
    """

    def __init__(
        self,
        path: Path,
        unpacked: IO[bytes] | None = None,
        form: str = "",
        sheet: str | None = None,
        *,
        sent: bytes | None = None,
    ) -> None:
        self.path = path
        self.form = form
        self.sheet = sheet
        self._unpacked = unpacked
        self._sent = sent

    @property
    def is_sheet(self) -> bool:
        """True if it was a spreadsheet."""
        return self.sheet is not None

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> BinaryIO:
        """Open the bytes from the first one on. An unpacked copy can be open only once at a time."""
        if self._sent is not None:
            return io.BytesIO(self._sent)
        if self._unpacked is None:
            return self.path.open("rb")
        self._unpacked.seek(0)
        return os.fdopen(os.dup(self._unpacked.fileno()), "rb")

    def state(self, opened: BinaryIO | None = None) -> tuple[int, int]:
        """The state of the file, or of it as `opened`; see `state_of`.

        Raises:
            UnusableFile: a pipe or a device, which can be read once only.
            OSError: it cannot be looked at.
        """
        if self._sent is not None:
            return len(self._sent), 0
        if (file := opened or self._unpacked) is not None:
            return state_of(os.fstat(file.fileno()))
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFile(
                gettext("{path}: this is a pipe or a device, and a file is read more than once", path=self),
                remedy=gettext("Write the export into a file on disk first, then import that."),
            )
        return state_of(status)


def state_of(status: os.stat_result) -> tuple[int, int]:
    """Size and modification time (nanoseconds), which change with every write."""
    return status.st_size, status.st_mtime_ns


def lines_below(source: Source, layout: Layout, digest: Digest) -> Iterator[tuple[int, str, bool]]:
    """Number, text and wholeness of every line below the header. A line that is too long is cut.

    Args:
        layout: from `reader.examine`.
        digest: called with every byte of the file, the very ones that the lines are made of.

    Raises:
        UnusableFile: reading failed on the way, or the file was changed meanwhile.
    """
    encoding = layout.encoding
    try:
        with source.open() as file:
            for number, raw, whole in physical_lines(file, digest):
                if number <= layout.header_line:
                    continue
                if number > layout.lines:  # it grows, perhaps as fast as it is read
                    raise changed(source)
                yield number, decode(raw.removeprefix(UTF8_BOM) if number == 1 else raw, encoding), whole
            if source.state(file) != layout.state:
                raise changed(source)
    except OSError as error:
        why = system_words(error)
        raise UnusableFile(gettext("{path}: reading failed: {why}", path=source, why=why)) from error


def first_lines(source: Source, encoding: str) -> Iterator[tuple[int, str, bool]]:
    """Number, text and wholeness of the lines from the first one on. Raises OSError: it cannot be read."""
    with source.open() as file:
        for number, raw, whole in physical_lines(file):
            yield number, decode(raw.removeprefix(UTF8_BOM) if number == 1 else raw, encoding), whole


def last_lines(source: Source, encoding: str, lines: int, lines_max: int) -> list[tuple[int, str]]:
    """Number and text of the last of a file's `lines` lines, in reverse. Raises OSError."""
    with source.open() as file:
        start = max(0, file.seek(0, os.SEEK_END) - LINE_BYTES_MAX)
        file.seek(start)
        raw = file.read(LINE_BYTES_MAX).removesuffix(b"\n").split(b"\n")
    if start:
        del raw[0]  # a part of a line
    return [
        (lines - place, decode(line.removesuffix(b"\r"), encoding))
        for place, line in enumerate(reversed(raw[-lines_max:]))
    ]


def survey(source: Source) -> tuple[str, int, bytes]:
    """The encoding, the number of lines, and the first bytes.

    Without a byte order mark: UTF-8, unless more bytes are wrong in it than characters beyond ASCII are
    right. Then it is Windows-1252, in which nearly any bytes are right.

    Raises:
        OSError: it cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    right = wrong = lines = 0
    last = b"\n"
    with source.open() as file:
        start = file.read(4096)
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
            if not chunk.isascii() or decoder.getstate()[0]:
                text = decoder.decode(chunk)
                bad = len(text) - len(text.encode("utf-8", "ignore").decode())
                wrong += bad
                right += len(text) - len(text.encode("ascii", "ignore")) - bad
    wrong += len(decoder.decode(b"", final=True))
    lines += last != b"\n"
    if start.startswith(UTF8_BOM):
        return "utf-8-sig", lines, start
    return ("windows-1252" if wrong > right else "utf-8"), lines, start


def physical_lines(file: BinaryIO, digest: Digest = lambda _raw: None) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes without the line's end, and whether that is the whole line."""
    number = 0
    while raw := file.readline(LINE_BYTES_MAX + 2):
        number += 1
        digest(raw)
        whole = raw.endswith(b"\n") or len(raw) <= LINE_BYTES_MAX
        rest = raw
        while not rest.endswith(b"\n") and rest:  # too long, or the last line: go to its end
            rest = file.readline(_CHUNK_BYTES)
            digest(rest)
            whole = whole and not rest
        yield number, raw.rstrip(b"\r\n") if whole else raw[:LINE_BYTES_MAX], whole


def decode(raw: bytes, encoding: str) -> str:
    """Decode bytes; wrong ones become lone surrogates."""
    if encoding == encodings.TWICE:
        return encodings.once(raw.decode("utf-8", errors="surrogateescape"))
    return raw.decode(encoding.removesuffix("-sig"), errors="surrogateescape")


def too_long(number: int, text: str) -> Line:
    """The line whose beginning is `text`, refused for its length."""
    detail = gettext("longer than {limit} bytes", limit=LINE_BYTES_MAX)
    return Line(number, (), Fault.LINE_TOO_LONG, detail, text[:200])


def changed(source: Source) -> UnusableFile:
    """The error of a file that is still being written."""
    return UnusableFile(
        gettext("{path}: the file was changed while it was being read", path=source),
        remedy=gettext("Import it again once it is complete: let the export be renamed into place."),
    )
